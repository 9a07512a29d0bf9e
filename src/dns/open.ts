/**
 * The DNS of the laptop's end, put together: server, resolver, cache, the cluster's DNS and the outside's. The daemon
 * opens it once the tunnel carries packets, tells it what changes, and closes it. It does not touch the laptop's own
 * resolver: os-resolver.ts does.
 */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { CzError, messageOf } from '../base/errors.js';
import { silentLog, type Log } from '../base/log.js';
import { respond, toEntry } from './answer.js';
import { createCache } from './cache.js';
import { findLoops } from './loops.js';
import { encodeMessage, plainData } from './message.js';
import { createNames, type NamePolicy } from './names.js';
import type { Query } from './query.js';
import { createResolver, type Resolver, type ResolverStats } from './resolver.js';
import { openDnsServer } from './server.js';
import { openUpstream, type Upstream, type UpstreamServer } from './upstream.js';
import { CLASS_IN, FLAG, labelsOf, lowerName, nameOfLabels, parseName, TYPE, type WireName } from './wire.js';

/** Our choice: through the tunnel a datagram is rarely lost, and a program's own patience is 5 s (resolv.conf(5)). */
const CLUSTER_ATTEMPTS_MS = [600, 1000, 1400];

export interface DnsOptions {
  /** The laptop's own address that answers; port 53 unless told otherwise (tests). */
  readonly address: string;
  readonly port?: number;
  readonly policy: NamePolicy;
  /** The cluster's DNS, reached through the tunnel. */
  readonly cluster: readonly UpstreamServer[];
  /** What the laptop asked before. */
  readonly outside: readonly UpstreamServer[];
  readonly log?: Log;
}

interface DnsStats extends ResolverStats {
  /** Namespaces that share their name with a public or own domain: the cluster is asked first, then the outside. */
  readonly sharedNamespaces: readonly string[];
}

export interface Probe {
  /** The magic name, without a last dot. */
  readonly name: string;
  /** The address that its lookup gives. */
  readonly address: string;
  /** Whether a question for it has arrived. */
  readonly arrived: boolean;
  close(): void;
}

export interface Dns {
  readonly port: number;
  /** Takes what differs; answers that stay right are kept. */
  update(change: {
    policy?: NamePolicy;
    cluster?: readonly UpstreamServer[];
    outside?: readonly UpstreamServer[];
  }): void;
  /** Says whether the tunnel carries packets; the cluster's known names are answered from the cache while not. */
  setReachable(reachable: boolean): void;
  /**
   * Stops asking outside servers that take their answers from here. Done by itself when the outside changes.
   * @throws DNS_LOOP when none is left
   */
  dropLoops(): Promise<void>;
  /** Answers a name that nobody else knows, to see whether the laptop's lookups arrive here. */
  openProbe(): Probe;
  readonly stats: DnsStats;
  close(): Promise<void>;
}

/** Answers from now on. @throws DNS_PORT */
export async function openDns(options: DnsOptions): Promise<Dns> {
  const log = options.log ?? silentLog;
  const own = [options.address];
  const cluster = openUpstream({ servers: options.cluster, own, attemptsMs: CLUSTER_ATTEMPTS_MS });
  const outside = openUpstream({ servers: options.outside, own });
  let policy = options.policy;
  let names = createNames(policy);
  const resolver = createResolver({ names, cluster, outside, cache: createCache(), log });
  const server = await openDnsServer({
    address: options.address,
    port: options.port ?? 53,
    handle: (bytes, limitBytes) => resolver.handle(bytes, limitBytes),
  });
  const dropLoops = () => dropLooping(outside, own, resolver, log);
  const told = { cluster: options.cluster, outside: options.outside, shared: new Set<string>() };
  tellShared(names.shared, told.shared, log);
  return {
    port: server.port,
    update(change) {
      if (change.cluster !== undefined && !isDeepStrictEqual(change.cluster, told.cluster)) {
        told.cluster = change.cluster;
        cluster.setServers(change.cluster);
      }
      if (change.outside !== undefined && !isDeepStrictEqual(change.outside, told.outside)) {
        told.outside = change.outside;
        outside.setServers(change.outside);
        dropLoops().catch((cause: unknown) => log.error(messageOf(cause)));
      }
      if (change.policy === undefined || isDeepStrictEqual(change.policy, policy)) return;
      const affected = affectedBy(policy, change.policy);
      policy = change.policy;
      names = createNames(policy);
      resolver.setNames(names, affected);
      tellShared(names.shared, told.shared, log);
    },
    setReachable: (reachable) => resolver.setReachable(reachable),
    dropLoops,
    openProbe: () => openProbe(options.address, policy, (name, answer) => resolver.intercept(name, answer)),
    get stats() {
      return { ...resolver.stats, sharedNamespaces: names.shared };
    },
    async close() {
      cluster.close();
      outside.close();
      await server.close();
    },
  };
}

async function dropLooping(
  outside: Upstream,
  own: readonly string[],
  resolver: Resolver,
  log: Log,
): Promise<void> {
  const looping = await findLoops(outside.servers, own, resolver);
  if (looping.length === 0) return;
  const addresses = looping.map(({ address }) => address).join(', ');
  const left = outside.servers.filter((server) => !looping.includes(server));
  outside.setServers(left);
  log.warn('a DNS server of this machine asks cz itself and is left out', { addresses });
  if (left.length > 0) return;
  throw new CzError('DNS_LOOP', `the DNS server at ${addresses} forwards to cz, which would ask it`, {
    hint: 'give that server its own upstream servers instead of /etc/resolv.conf, then connect again',
  });
}

function tellShared(shared: readonly string[], told: Set<string>, log: Log): void {
  const fresh = shared.filter((namespace) => !told.has(namespace));
  if (fresh.length === 0) return;
  for (const namespace of fresh) told.add(namespace);
  log.info('names in these namespaces are asked of the cluster first, then outside', { namespaces: fresh });
}

/** Returns which names another policy may answer otherwise. */
function affectedBy(before: NamePolicy, after: NamePolicy): (name: WireName) => boolean {
  const same = (key: 'connected' | 'networks' | 'laptopDomains') => before[key].join() === after[key].join();
  if (before.clusterDomain !== after.clusterDomain || !same('networks') || !same('laptopDomains')) {
    return () => true;
  }
  const [old, fresh] = [new Set(before.namespaces), new Set(after.namespaces)];
  const changed = new Set([...old, ...fresh].filter((name) => old.has(name) !== fresh.has(name)));
  const bareChanged = !same('connected');
  return (name) => {
    const labels = labelsOf(name);
    return (bareChanged && labels.length === 1) || changed.has(labels.at(-1) ?? '');
  };
}

function openProbe(
  address: string,
  policy: NamePolicy,
  intercept: (name: WireName, answer: (query: Query) => Buffer) => () => void,
): Probe {
  const label = `cz-probe-${randomBytes(8).toString('hex')}`;
  const zone = labelsOf(parseName(policy.clusterDomain) ?? '');
  const name = lowerName(nameOfLabels([label, ...zone]) ?? '');
  let arrived = false;
  const close = intercept(name, (query) => {
    arrived = true;
    return answerProbe(query, name, address);
  });
  return {
    name: `${label}.${policy.clusterDomain}`,
    address,
    get arrived() {
      return arrived;
    },
    close,
  };
}

function answerProbe(query: Query, name: WireName, address: string): Buffer {
  const data = plainData(Buffer.from(address.split('.').map(Number)));
  const record = { name, type: TYPE.A, class: CLASS_IN, ttl: 0, data };
  const bytes = encodeMessage({
    id: 0,
    flags: FLAG.response | FLAG.authoritative,
    question: { name, type: query.type, class: query.class },
    answers: query.type === TYPE.A ? [record] : [],
    authorities: [],
    additionals: [],
  });
  const entry = toEntry(bytes, { ttl: 0, nowMs: 0, fromCluster: true });
  return respond(
    query,
    entry ?? { bytes, ttlOffsets: [], storedAtMs: 0, expiresAtMs: 0, fromCluster: true },
    0,
    65_535,
  );
}
