/**
 * One laptop in one cluster, from `connect` to `disconnect`: joins the manager, changes the laptop, keeps the way
 * open, and undoes all of it. The state machine: connecting → connected ⇄ reconnecting → disconnected.
 */
import type { Socket } from 'node:net';
import { descriptorOf, tuneSocket } from '../base/addon.js';
import { parseAddress } from '../base/cidr.js';
import { createBackoff, pause } from '../base/backoff.js';
import { CzError, hasCode, messageOf } from '../base/errors.js';
import type { Log, LogFields } from '../base/log.js';
import type { Journal } from '../base/undo.js';
import { VERSION } from '../base/version.js';
import type { ConnectParams, SessionState } from '../control/schema.js';
import { loadAccess } from '../kube/access.js';
import { openApi, type KubeApi } from '../kube/api.js';
import { installManager } from '../install/apply.js';
import { readHost, type HostNetworks } from '../routes/host.js';
import { pickRanges, type Ranges } from '../routes/ranges.js';
import { openHostWatch } from '../routes/watch.js';
import type { TunDevice } from '../tun/device.js';
import { openTun } from '../tun/linux.js';
import { parseNetworks, PROTOCOL_VERSION, type LaptopHello, type Welcome } from '../tunnel/handshake.js';
import { createLink, type Link } from '../tunnel/link.js';
import { Laptop } from './laptop.js';
import { enroll, type Joined, type Membership } from './membership.js';
import { createSteps, type Progress, type Steps } from './steps.js';
import { changesBetween, resolveWishes, type Wishes } from './wishes.js';

const INTERFACE = 'cz0';
/** The largest MTU that the laptop takes: a TUN's own limit (linux/if_tun.h) less nothing; the pod network decides. */
const MTU_MAX = 65_535;
/** Waits between attempts to find the way back: at once, then at most every two seconds (mended within 5 s). */
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 2000;
/** A manager that hears no good-bye in this time is left to find out by the lease. */
const GOODBYE_TIMEOUT_MS = 1500;

export interface ConnectionOptions {
  readonly params: ConnectParams;
  readonly journal: Journal;
  readonly log: Log;
  readonly progress: Progress;
  /** Ends the attempt: everything done so far is undone. */
  readonly signal: AbortSignal;
  /** The cluster's side ended the session; what is on the laptop is still to be undone by `close`. */
  onEnded(reason: string): void;
}

export interface Lost {
  readonly since: Date;
  readonly reason: string;
}

/** A connection: what it knows of itself, and what can be asked of it. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #stop = new AbortController();
  readonly #steps: Steps;
  #params: ConnectParams;
  #state: SessionState = 'connecting';
  #api: KubeApi | undefined;
  #membership: Membership | undefined;
  #ranges: Ranges | undefined;
  #tun: TunDevice | undefined;
  #link: Link | undefined;
  #laptop: Laptop | undefined;
  #welcome: Welcome | undefined;
  #localAddress: string | undefined;
  #wishes: Wishes | undefined;
  #since = new Date();
  #lost: Lost | undefined;
  /** What happens by itself, until it is over. */
  readonly #work = new Set<Promise<void>>();
  #isReconnecting = false;
  /** Ends the wait for the next attempt to find the way back. */
  #hurry = new AbortController();
  /** Another session was opened, and the laptop has not taken it over yet. */
  #isToAdopt = false;
  #closing: Promise<string[]> | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#params = options.params;
    this.#steps = createSteps(options.progress, options.log, this.#stop.signal);
    options.signal.addEventListener('abort', () => this.#stop.abort(), { once: true });
    if (options.signal.aborted) this.#stop.abort();
  }

  get state(): SessionState {
    return this.#state;
  }
  get params(): ConnectParams {
    return this.#params;
  }
  get api(): KubeApi | undefined {
    return this.#api;
  }
  get membership(): Membership | undefined {
    return this.#membership;
  }
  get laptop(): Laptop | undefined {
    return this.#laptop;
  }
  get link(): Link | undefined {
    return this.#link;
  }
  get welcome(): Welcome | undefined {
    return this.#welcome;
  }
  get namespaces(): readonly string[] {
    return this.#wishes?.namespaces ?? this.#params.namespaces;
  }
  /** Counters of link and interface, for the log. */
  get counters(): LogFields {
    return { link: this.#link?.stats(), tun: this.#tun?.stats(), roundTripMs: this.#link?.roundTripMs };
  }
  get since(): Date {
    return this.#since;
  }
  get lost(): Lost | undefined {
    return this.#lost;
  }

  /** Connects. @throws the failed step's error, after everything before it was undone */
  async open(): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      await this.close();
      throw this.#options.signal.aborted
        ? new CzError('INTERRUPTED', 'connecting was interrupted', { cause: error })
        : error;
    }
  }

  /**
   * Applies what differs from the present wishes and returns it, a line each.
   * @throws OTHER_CONTEXT naming both, USAGE, NETWORK_OVERLAP; then nothing was changed
   */
  async change(params: ConnectParams): Promise<string[]> {
    const [api, laptop, welcome, before] = [this.#api, this.#laptop, this.#welcome, this.#wishes];
    if (api === undefined || laptop === undefined || welcome === undefined || before === undefined) {
      throw new CzError('CONFLICT', 'connecting is still under way', {
        hint: 'wait for it, or: cz disconnect',
      });
    }
    const access = await loadAccess(accessOptions(params));
    refuseOther(api, access.context, access.server);
    const wishes = await resolveWishes(params, access.namespace);
    const changes = changesBetween(before, wishes);
    if (changes.length === 0) return [];
    await laptop.change(welcome.networks, wishes);
    this.#wishes = wishes;
    this.#params = params;
    return changes;
  }

  /** Undoes everything; returns what could not be undone, a line each. Idempotent. */
  close(): Promise<string[]> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #open(): Promise<void> {
    const { params, log } = this.#options;
    const signal = this.#stop.signal;
    const [api, host] = await this.#steps.run('cluster', 'reading the kubeconfig', async (undo) => {
      const [access, seen] = await Promise.all([loadAccess(accessOptions(params)), readHost()]);
      const opened = openApi(access, { tune: tuneRequests });
      undo(() => opened.close());
      return [opened, seen] as const;
    });
    this.#api = api;
    this.#ranges = pickRanges(host, INTERFACE);
    this.#wishes = await resolveWishes(params, api.access.namespace);
    const tun = await this.#openTun();
    const membership = await this.#enroll(api);
    this.#membership = membership;
    const joined = await this.#steps.run('tunnel', 'joining the cluster', () =>
      membership.join(this.#hello()),
    );
    this.#laptop = new Laptop({
      welcome: joined.welcome,
      wishes: this.#wishes,
      host,
      dnsAddress: this.#ranges.dnsAddress,
      outside: () => api.dial('/').remoteAddresses(),
      tun,
      steps: this.#steps,
      journal: this.#options.journal,
      log,
      signal,
    });
    this.#link = this.#openLink(tun);
    this.#attach(joined);
    await this.#laptop.open();
    signal.throwIfAborted();
    openHostWatch({ onChange: () => this.#inBackground(() => this.#followHost()), signal });
    this.#since = new Date();
    this.#state = this.#isReconnecting ? 'reconnecting' : 'connected';
  }

  /** The first change to the laptop, and before any to the cluster: nothing else needs root and a kernel with TUN. */
  async #openTun(): Promise<TunDevice> {
    const tun = await this.#steps.run('tun', 'opening the tunnel interface', async (undo) => {
      const opened = openTun({ name: INTERFACE });
      undo(() => opened.close());
      return opened;
    });
    this.#tun = tun;
    return tun;
  }

  /** Asks for a session; with `--install`, after putting the manager there where it is missing. */
  async #enroll(api: KubeApi): Promise<Membership> {
    const { params } = this.#options;
    const signal = this.#stop.signal;
    const ask = () =>
      this.#steps.run('session', 'asking for a session', () => enroll({ ...params, api, signal }));
    try {
      return await ask();
    } catch (error) {
      if (!params.install || !hasCode(error, 'MANAGER_MISSING')) throw error;
    }
    await this.#steps.run('install', 'installing the traffic manager', () =>
      installManager(api, {
        namespace: params.managerNamespace,
        version: VERSION,
        choices: params.image === undefined ? {} : { image: params.image },
        report: (text) => this.#options.progress({ kind: 'started', step: 'install', text }),
        signal,
      }),
    );
    return ask();
  }

  #hello(): LaptopHello {
    const former = this.#welcome?.address;
    return {
      versions: [PROTOCOL_VERSION],
      software: VERSION,
      addressRanges: this.#ranges?.sessionRanges ?? [],
      ...(former === undefined ? {} : { preferredAddress: former }),
      offloads: this.#tun?.offloads ?? NO_OFFLOADS,
      mtuMax: MTU_MAX,
      ...(this.#link === undefined ? {} : { streams: this.#link.resumePoints() }),
    };
  }

  #openLink(tun: TunDevice): Link {
    const link = createLink({
      role: 'laptop',
      packets: tun,
      log: this.#options.log,
      onLost: (reason) => this.#onLost(reason),
    });
    link.on('networks', (params) => this.#inBackground(() => this.#followNetworks(params)));
    return link;
  }

  #attach({ carrier, welcome, mode, localAddress }: Joined): void {
    this.#welcome = welcome;
    this.#localAddress = localAddress;
    this.#tun?.setOffloads(welcome.offloads);
    this.#link?.attach(carrier, mode === 'resume' ? welcome.streams : undefined);
  }

  #onLost(reason: string): void {
    if (this.#stop.signal.aborted) return;
    this.#options.log.info('the way is lost', { reason });
    this.#lost = { since: this.#lost?.since ?? new Date(), reason };
    if (reason === 'SESSION_ENDED') {
      this.#options.onEnded('the session was ended in the cluster');
      return;
    }
    if (this.#state === 'connected') this.#state = 'reconnecting';
    this.#api?.refresh();
    this.#laptop?.setReachable(false);
    if (reason === 'MANAGER_STOPPING') this.#laptop?.resetConnections(); // what it forwarded is gone with it
    if (this.#isReconnecting) return;
    this.#isReconnecting = true;
    this.#inBackground(() => this.#reconnect());
  }

  /** Tries until the way is back, at most two seconds apart, and at once when the laptop's network changes. */
  async #reconnect(): Promise<void> {
    const { signal } = this.#stop;
    const backoff = createBackoff(RETRY_FIRST_MS, RETRY_MAX_MS);
    while (!(await this.#rejoin()) && !signal.aborted) {
      this.#hurry = new AbortController();
      await pause(backoff.next(), AbortSignal.any([signal, this.#hurry.signal]));
    }
  }

  /** Returns whether the way is back, and the laptop has followed. */
  async #rejoin(): Promise<boolean> {
    try {
      const joined = await this.#membership?.join(this.#hello());
      if (joined === undefined) return false;
      if (joined.mode === 'open') this.#isToAdopt = true;
      this.#attach(joined);
      await this.#followWelcome(joined.welcome);
    } catch (error) {
      this.#lost = { since: this.#lost?.since ?? new Date(), reason: messageOf(error) };
      this.#options.log.info('no way back yet', { error });
      this.#link?.detach(); // a laptop that has not followed is not connected
    }
    if (this.#link?.attached !== true || this.#stop.signal.aborted) return false;
    this.#isBack();
    return true;
  }

  async #followWelcome(welcome: Welcome): Promise<void> {
    if (this.#isToAdopt) await this.#laptop?.adopt(welcome);
    else await this.#laptop?.follow(welcome.networks);
    this.#isToAdopt = false;
  }

  #isBack(): void {
    this.#isReconnecting = false;
    this.#laptop?.setReachable(true);
    if (this.#state === 'reconnecting') this.#state = 'connected';
    this.#lost = undefined;
    this.#options.log.info('the way is back', { session: this.#membership?.session.name });
  }

  /** The laptop has another network: routes that are missing come back, and a lost way is tried at once. */
  async #followHost(): Promise<void> {
    this.#hurry.abort();
    const host = await readHost();
    if (this.#link?.attached === true && !hasAddress(host, this.#localAddress)) {
      this.#link.detach(); // nothing of it will ever come back: no need to wait for the silence
      this.#onLost('ADDRESS_GONE');
    }
    if (this.#welcome !== undefined) await this.#laptop?.follow(this.#welcome.networks);
  }

  async #followNetworks(params: unknown): Promise<void> {
    const networks = parseNetworks(params);
    if (this.#welcome === undefined) return;
    this.#welcome = { ...this.#welcome, networks };
    await this.#laptop?.follow(networks);
  }

  /** What happens by itself: its failures are the log's, and `close` waits for its end. */
  #inBackground(work: () => Promise<void>): void {
    const running = work()
      .catch((error: unknown) => {
        if (!this.#stop.signal.aborted) this.#options.log.error('following the cluster', { error });
      })
      .finally(() => this.#work.delete(running));
    this.#work.add(running);
  }

  async #close(): Promise<string[]> {
    const wasJoined = this.#link?.attached === true;
    this.#stop.abort();
    if (wasJoined) await this.#link?.request('goodbye', {}, GOODBYE_TIMEOUT_MS).catch(() => undefined);
    this.#link?.close('DONE');
    await Promise.all(this.#work);
    const left = await this.#steps.undoAll();
    this.#state = 'disconnected';
    return left;
  }
}

/** A request on a connection that died without a word fails within this, so that the way back is found in time. */
const REQUEST_USER_TIMEOUT_MS = 3000;

function tuneRequests(socket: Socket): void {
  const fd = descriptorOf(socket);
  if (fd !== undefined) tuneSocket(fd, { userTimeoutMs: REQUEST_USER_TIMEOUT_MS });
}

const NO_OFFLOADS = { checksum: false, tso4: false, tso6: false, tsoEcn: false, uso: false };

/** Whether the laptop still has this IPv4 address, as far as is known. */
function hasAddress({ addresses }: HostNetworks, address: string | undefined): boolean {
  const wanted = address === undefined ? undefined : parseAddress(address);
  return wanted === undefined || addresses.some((one) => one.address === wanted);
}

/** Returns what loadAccess needs of a request. */
function accessOptions({ invoker, kubeconfig, context }: ConnectParams) {
  return {
    invoker,
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
  };
}

function refuseOther(api: KubeApi, context: string, server: URL): void {
  const { access } = api;
  if (access.context === context && access.server.href === server.href) return;
  throw new CzError('OTHER_CONTEXT', `connected to context "${access.context}" already, not "${context}"`, {
    hint: 'cz disconnect, then connect again',
  });
}
