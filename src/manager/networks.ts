/**
 * Watches what networks the cluster has, and tells them: to laptops (announced) and to the forwarding. ServiceCIDR
 * objects where the cluster has them, else the Services' addresses; the nodes' podCIDRs where pods really get these,
 * else the pods' addresses; namespaces; the resolver and domain of the manager's own pod.
 */
import { readFile } from 'node:fs/promises';
import { CzError, hasCode, messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { KubeApi } from '../kube/api.js';
import type { Networks } from '../nat/engine.js';
import type { ClusterNetworks } from '../tunnel/handshake.js';
import {
  addressesOfNodes,
  namespaceNames,
  networksOfNodes,
  networksOfPods,
  networksOfServiceCidrs,
  networksOfServices,
  parseGateways,
  parseResolvConf,
  tellsPodNetworks,
  type NodeObject,
  type PodObject,
  type ServiceCidrObject,
  type ServiceObject,
} from './learn.js';

/** Changes are told together that come within this time (our choice: a rollout is one change, a person sees no delay). */
const DEBOUNCE_MS = 100;
/** Most namespaces and node addresses that laptops are told (PROTOCOL.md §2 takes 4096 and 2048). */
const NAMESPACE_LIMIT = 4096;
const NODE_LIMIT = 2048;
/** Where the pod itself tells its resolver and its gateway. resolv.conf(5), proc(5) */
const OWN_FILES = { resolvConf: '/etc/resolv.conf', routes: '/proc/net/route' } as const;

export interface NetworksOptions {
  readonly api: Pick<KubeApi, 'watch'>;
  readonly config: {
    readonly podIP: string;
    readonly hostIP: string;
    /** Permitted targets beyond the cluster's networks, as CIDRs. */
    readonly alsoRoute: readonly string[];
    readonly nodeAddresses: boolean;
    /** The only namespaces that the manager may look at; empty or absent: all. */
    readonly namespaces?: readonly string[];
  };
  readonly log: Log;
  readonly signal: AbortSignal;
  /** For tests; default the pod's own files. */
  readonly files?: { readonly resolvConf: string; readonly routes: string };
}

/** What is seen at one time. */
export interface SeenNetworks {
  /** For laptops. Node addresses are in it only where they may be reached. */
  readonly announced: ClusterNetworks;
  /** For the forwarding. */
  readonly forwarding: Networks;
}

export interface ClusterWatch {
  /** Whether all is known that laptops are told. */
  readonly ready: boolean;
  /** Resolves with the networks as last seen, once they are known. @throws INTERRUPTED closed before */
  current(): Promise<ClusterNetworks>;
  /** Calls the listener on every change, and at once if something is known already. */
  onChange(listener: (seen: SeenNetworks) => void): void;
  /** Ends the watches. Idempotent; the signal does the same. */
  close(): void;
}

/** Starts watching; errors of the API are logged and tried again by the watches. */
export function openNetworks(options: NetworksOptions): ClusterWatch {
  return new NetworkWatch(options);
}

interface Named {
  readonly metadata?: { readonly name?: string };
}

/** What the watches hold; the maps are live. */
interface Sources {
  readonly nodes: Objects<NodeObject>;
  /** Absent where the manager may look at some namespaces only. */
  readonly namespaces: Objects<Named> | undefined;
  readonly serviceCidrs: Objects<ServiceCidrObject> | undefined;
  readonly services: readonly Objects<ServiceObject>[];
  /** Undefined while the nodes' podCIDRs tell where pods are. */
  readonly pods: readonly Objects<PodObject>[] | undefined;
}

type Objects<T> = ReadonlyMap<string, T>;

/** What the pod itself knows. */
interface Own {
  readonly resolvers: readonly string[];
  readonly clusterDomain: string;
  readonly gateways: readonly string[];
}

class NetworkWatch implements ClusterWatch {
  readonly #options: NetworksOptions;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #listeners = new Set<(seen: SeenNetworks) => void>();
  readonly #waiting = new Set<() => void>();
  #sources: Sources | undefined;
  #own: Own | undefined;
  #seen: SeenNetworks | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NetworksOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#stop.signal]);
    this.#signal.addEventListener('abort', () => this.#ended(), { once: true });
    this.#start().catch((error: unknown) => {
      if (!this.#signal.aborted) options.log.error('learning the networks', { cause: messageOf(error) });
    });
  }

  get ready(): boolean {
    return this.#seen !== undefined;
  }

  async current(): Promise<ClusterNetworks> {
    while (this.#seen === undefined) {
      if (this.#signal.aborted) throw new CzError('INTERRUPTED', 'the networks are not watched any more');
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
    return this.#seen.announced;
  }

  onChange(listener: (seen: SeenNetworks) => void): void {
    this.#listeners.add(listener);
    if (this.#seen !== undefined) listener(this.#seen);
  }

  close(): void {
    this.#stop.abort();
  }

  async #start(): Promise<void> {
    this.#own = await readOwn(this.#options.files ?? OWN_FILES);
    const { namespaces: only = [] } = this.#options.config;
    const [nodes, namespaces, services] = await Promise.all([
      this.#follow<NodeObject>('/api/v1/nodes'),
      only.length === 0 ? this.#follow<Named>('/api/v1/namespaces') : undefined,
      this.#followServices(),
    ]);
    const told = tellsPodNetworks(nodes.values(), this.#options.config);
    const pods = told ? undefined : await this.#followEach<PodObject>('pods');
    this.#sources = { nodes, namespaces, ...services, pods };
    this.#options.log.info('networks known', { pods: told ? 'podCIDRs' : 'addresses of pods' });
    this.#look();
  }

  /** ServiceCIDR is v1 since Kubernetes 1.33 and v1beta1, off by default, in 1.31 and 1.32. */
  async #followServices(): Promise<Pick<Sources, 'serviceCidrs' | 'services'>> {
    for (const version of ['v1', 'v1beta1']) {
      const path = `/apis/networking.k8s.io/${version}/servicecidrs`;
      const serviceCidrs = await this.#followIfThere<ServiceCidrObject>(path);
      if (serviceCidrs !== undefined) return { serviceCidrs, services: [] };
    }
    return { serviceCidrs: undefined, services: await this.#followEach<ServiceObject>('services') };
  }

  /** Follows a resource in each of the namespaces that the manager may look at. */
  #followEach<T>(resource: string): Promise<Objects<T>[]> {
    const { namespaces = [] } = this.#options.config;
    const paths = namespaces.map((name) => `/api/v1/namespaces/${encodeURIComponent(name)}/${resource}`);
    return Promise.all(
      (paths.length === 0 ? [`/api/v1/${resource}`] : paths).map((path) => this.#follow<T>(path)),
    );
  }

  /** Resolves with the live objects once they are listed, however long that takes. */
  #follow<T>(path: string): Promise<Objects<T>> {
    return new Promise((resolve) => {
      this.#options.api.watch<T>(path, {
        signal: this.#signal,
        onChange: (objects) => {
          resolve(objects);
          this.#changed();
        },
        onError: (error) =>
          this.#options.log.warn('watching', { path, cause: error.message, code: error.code }),
      });
    });
  }

  /** Resolves with undefined where the cluster has no such resource, or does not let the manager see it. */
  async #followIfThere<T>(path: string): Promise<Objects<T> | undefined> {
    const watch = this.#options.api.watch<T>(path, {
      signal: this.#signal,
      onChange: () => this.#changed(),
      onError: (error) =>
        this.#options.log.debug('watching', { path, cause: error.message, code: error.code }),
    });
    try {
      await watch.ready();
      return watch.objects;
    } catch (error) {
      watch.close();
      if (hasCode(error, 'NOT_FOUND') || hasCode(error, 'NOT_PERMITTED')) return undefined;
      throw error;
    }
  }

  #changed(): void {
    if (this.#sources === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, DEBOUNCE_MS);
  }

  #look(): void {
    if (this.#sources === undefined || this.#own === undefined || this.#signal.aborted) return;
    const seen = see(this.#sources, this.#own, this.#options.config);
    if (JSON.stringify(seen) === JSON.stringify(this.#seen)) return;
    this.#seen = seen;
    this.#wake();
    for (const listener of this.#listeners) listener(seen);
  }

  #ended(): void {
    clearTimeout(this.#timer);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

/** Returns what the objects say now. Pure. */
function see(sources: Sources, own: Own, config: NetworksOptions['config']): SeenNetworks {
  const { nodes, namespaces, serviceCidrs } = sources;
  const services = serviceCidrs
    ? networksOfServiceCidrs(serviceCidrs.values())
    : networksOfServices(sources.services.flatMap((objects) => [...objects.values()]));
  const pods = sources.pods
    ? networksOfPods(sources.pods.flatMap((objects) => [...objects.values()]))
    : networksOfNodes(nodes.values());
  const nodeAddresses = addressesOfNodes(nodes.values(), own.gateways);
  const reachable = config.nodeAddresses
    ? nodeAddresses.slice(0, NODE_LIMIT).map((address) => `${address}/32`)
    : [];
  const names = namespaces === undefined ? (config.namespaces ?? []) : namespaceNames(namespaces.values());
  const [server = ''] = own.resolvers;
  return {
    announced: {
      services,
      pods,
      nodes: reachable,
      dns: { server, clusterDomain: own.clusterDomain },
      namespaces: names.slice(0, NAMESPACE_LIMIT),
    },
    forwarding: {
      allowed: [...services, ...pods, ...reachable, ...config.alsoRoute],
      forbidden: config.nodeAddresses ? [] : nodeAddresses,
      resolvers: own.resolvers,
    },
  };
}

async function readOwn(files: { readonly resolvConf: string; readonly routes: string }): Promise<Own> {
  const { resolvers, clusterDomain } = parseResolvConf(await readFile(files.resolvConf, 'utf8'));
  if (resolvers.length === 0)
    throw new CzError('NETWORKS_INVALID', `"${files.resolvConf}" names no resolver with an IPv4 address`);
  const gateways = parseGateways(await readFile(files.routes, 'utf8'));
  return { resolvers, clusterDomain, gateways };
}
