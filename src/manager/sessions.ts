/**
 * All sessions of this manager, reconciled with the Session resources: each resource gets this manager's key into
 * its status; a resource that is deleted ends its session; a laptop that stays silent for the lease loses its
 * resource. The resource is the truth: what is in memory here can be had again from it.
 */
import { parseCidr, type Cidr } from '../base/cidr.js';
import { CzError, hasCode, messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { VERSION } from '../base/version.js';
import type { KubeApi } from '../kube/api.js';
import {
  patchStatus,
  sessionPath,
  sessionsPath,
  type SessionResource,
  type SessionStatus,
} from '../kube/session.js';
import type { NatEngine } from '../nat/engine.js';
import type { Carrier } from '../tunnel/carrier.js';
import type { ClusterNetworks, LaptopHello, Mode, SessionKey, Welcome } from '../tunnel/handshake.js';
import { PROTOCOL_VERSION } from '../tunnel/handshake.js';
import type { ResumePoint } from '../tunnel/link.js';
import { createAddressPool } from './addresses.js';
import type { ManagerConfig } from './config.js';
import { openSession, type ManagedSession } from './session.js';

/** Sessions that one manager holds (our choice: each is a TUN and a thread; a team is far smaller). */
const SESSIONS_MAX = 250;
/** How long a Session may wait for its laptop's first websocket (our choice: a connect takes a second). */
const JOIN_SECONDS = 30;
/** A laptop may dial before our watch has told us of its Session: how long to wait for it. */
const ANNOUNCE_WAIT_MS = 4000;

export interface SessionsOptions {
  readonly api: KubeApi;
  readonly config: ManagerConfig;
  readonly key: SessionKey;
  readonly nat: NatEngine;
  readonly mtu: number;
  readonly log: Log;
  /** The cluster's networks as last seen. */
  networks(): Promise<ClusterNetworks>;
}

export interface Sessions {
  /** Returns the Session of this UID, waiting a moment for one that was only just created. */
  lookup(uid: string): Promise<{ readonly publicKey: string } | undefined>;
  /** Returns what a laptop is told that proved itself; opens its session unless it resumes one. @throws NO_ADDRESS, SESSIONS_FULL, UNKNOWN_SESSION */
  welcome(hello: LaptopHello, uid: string, mode: Mode): Promise<Welcome>;
  /** Gives a welcomed laptop's websocket to its session. */
  attach(uid: string, carrier: Carrier, resume: readonly ResumePoint[] | undefined): void;
  /** Tells every laptop that the cluster's networks are now these. */
  announce(networks: ClusterNetworks): void;
  /** Ends the websockets, leaving the resources for the next manager. */
  close(): Promise<void>;
}

interface Entry {
  resource: SessionResource;
  session: ManagedSession | undefined;
  lease: NodeJS.Timeout | undefined;
  /** What opens and ends the session happens one after the other. */
  turn: Promise<unknown>;
  /** Its statuses are written in the order in which they came to be. */
  written: Promise<unknown>;
}

/** Starts reconciling; ends with the signal or `close`. */
export function openSessions(options: SessionsOptions): Sessions {
  return new SessionTable(options);
}

class SessionTable implements Sessions {
  readonly #options: SessionsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #waiting = new Set<() => void>();
  readonly #pool = createAddressPool();
  readonly #stop = new AbortController();

  constructor(options: SessionsOptions) {
    this.#options = options;
    options.api.watch<SessionResource>(sessionsPath(options.config.namespace), {
      signal: this.#stop.signal,
      onChange: (resources) => this.#reconcile(resources),
      onError: (error) => options.log.warn('watching sessions', { cause: messageOf(error) }),
    });
  }

  async lookup(uid: string): Promise<{ readonly publicKey: string } | undefined> {
    const entry = this.#entries.get(uid) ?? (await this.#awaitEntry(uid));
    return entry === undefined ? undefined : { publicKey: entry.resource.spec.publicKey };
  }

  async welcome(hello: LaptopHello, uid: string, mode: Mode): Promise<Welcome> {
    const entry = this.#entries.get(uid);
    if (entry === undefined) throw unknownSession(uid);
    const networks = await this.#options.networks();
    return inTurn(entry, () => this.#welcome(entry, hello, mode, networks));
  }

  /** The lease runs from here: a laptop that does not come after its welcome is one that stays away. */
  async #welcome(entry: Entry, hello: LaptopHello, mode: Mode, networks: ClusterNetworks): Promise<Welcome> {
    if (this.#entries.get(entry.resource.metadata.uid) !== entry)
      throw unknownSession(entry.resource.metadata.uid);
    if (mode === 'open' && entry.session !== undefined) await this.#end(entry, 'REPLACED');
    if (mode === 'resume' && entry.session === undefined)
      throw new CzError('UNKNOWN_SESSION', 'nothing to resume');
    const session = entry.session ?? (await this.#open(entry, hello, networks));
    this.#startLease(entry);
    return {
      version: PROTOCOL_VERSION,
      software: VERSION,
      address: session.address,
      mtu: this.#options.mtu,
      offloads: session.offloads,
      networks,
      manager: { namespace: this.#options.config.namespace, pod: this.#options.config.pod },
      streams: session.link.resumePoints(),
    };
  }

  attach(uid: string, carrier: Carrier, resume: readonly ResumePoint[] | undefined): void {
    const entry = this.#entries.get(uid);
    if (entry?.session === undefined) {
      carrier.close(4404, 'UNKNOWN_SESSION');
      return;
    }
    clearTimeout(entry.lease);
    entry.session.attach(carrier, resume);
    this.#writeStatus(entry, {
      phase: 'Connected',
      address: entry.session.address,
      ...connectedNow(entry.resource),
    });
  }

  announce(networks: ClusterNetworks): void {
    for (const { session } of this.#entries.values()) session?.link.notify('networks', networks);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    await Promise.all(entries.map((entry) => inTurn(entry, () => this.#end(entry, 'MANAGER_STOPPING'))));
  }

  async #open(entry: Entry, hello: LaptopHello, networks: ClusterNetworks): Promise<ManagedSession> {
    const open = [...this.#entries.values()].filter(({ session }) => session !== undefined).length;
    if (open >= SESSIONS_MAX)
      throw new CzError('SESSIONS_FULL', `this manager holds ${SESSIONS_MAX} sessions already`);
    const { uid, name } = entry.resource.metadata;
    const address = this.#pool.acquire({
      ranges: hello.addressRanges,
      ...(hello.preferredAddress === undefined ? {} : { preferred: hello.preferredAddress }),
      taken: this.#taken(networks),
    });
    const log = this.#options.log.with({ session: name, uid, user: entry.resource.spec.user, address });
    try {
      entry.session = await openSession({
        uid,
        address,
        nat: this.#options.nat,
        offloads: hello.offloads,
        log,
        onLost: (reason) => this.#lost(entry, reason),
        onGoodbye: () => this.#remove(entry, 'the laptop said good-bye'),
      });
    } catch (error) {
      this.#pool.release(address);
      throw error;
    }
    log.info('session opened', { software: hello.software });
    return entry.session;
  }

  #taken(networks: ClusterNetworks): Cidr[] {
    const own = [this.#options.config.podIP, this.#options.config.hostIP];
    const all = [...networks.services, ...networks.pods, ...networks.nodes, networks.dns.server, ...own];
    return all.map(parseCidr).filter((network) => network !== undefined);
  }

  #reconcile(resources: ReadonlyMap<string, SessionResource>): void {
    for (const [uid, entry] of this.#entries) {
      if (resources.has(uid)) continue;
      this.#entries.delete(uid);
      void inTurn(entry, () => this.#end(entry, 'SESSION_ENDED'));
    }
    for (const [uid, resource] of resources) {
      const known = this.#entries.get(uid);
      if (known === undefined) this.#adopt(uid, resource);
      else known.resource = resource;
    }
    for (const wake of this.#waiting) wake();
  }

  /** A Session that is new to this manager: its status gets our key, its laptop has a lease's time to come. */
  #adopt(uid: string, resource: SessionResource): void {
    const entry: Entry = {
      resource,
      session: undefined,
      lease: undefined,
      turn: Promise.resolve(),
      written: Promise.resolve(),
    };
    this.#entries.set(uid, entry);
    this.#startLease(entry, leftOfLease(resource.status, this.#options.config.leaseSeconds));
    this.#writeStatus(entry, { phase: 'Away' });
  }

  #lost(entry: Entry, reason: string): void {
    this.#options.log.info('laptop lost', { session: entry.resource.metadata.name, reason });
    this.#startLease(entry);
    this.#writeStatus(entry, { phase: 'Away', lastSeen: new Date().toISOString() });
  }

  #startLease(entry: Entry, seconds = this.#options.config.leaseSeconds): void {
    clearTimeout(entry.lease);
    entry.lease = setTimeout(
      () => this.#remove(entry, 'its laptop was silent for the lease'),
      seconds * 1000,
    );
    entry.lease.unref();
  }

  async #end(entry: Entry, code: string): Promise<void> {
    clearTimeout(entry.lease);
    const session = entry.session;
    entry.session = undefined;
    if (session === undefined) return;
    await session.end(code);
    this.#pool.release(session.address);
  }

  /** Deletes the resource of exactly this UID; the watch then ends the session. */
  #remove(entry: Entry, why: string): void {
    const { name, uid } = entry.resource.metadata;
    this.#options.log.info('session removed', { session: name, why });
    this.#options.api
      .remove(sessionPath(this.#options.config.namespace, name), { uid })
      .catch((error: unknown) => {
        if (!hasCode(error, 'NOT_FOUND'))
          this.#options.log.warn('removing a session', { cause: messageOf(error) });
      });
  }

  #writeStatus(entry: Entry, status: Partial<SessionStatus>): void {
    if (this.#stop.signal.aborted) return;
    const { pod, podIP } = this.#options.config;
    const whole = { ...status, managerKey: this.#options.key.publicKey, pod, podIP };
    const write = () =>
      patchStatus(this.#options.api, entry.resource, whole).catch((error: unknown) => {
        if (!hasCode(error, 'NOT_FOUND'))
          this.#options.log.warn('writing a status', { cause: messageOf(error) });
      });
    entry.written = entry.written.then(write);
  }

  #awaitEntry(uid: string): Promise<Entry | undefined> {
    return new Promise((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve(this.#entries.get(uid));
      };
      const look = () => this.#entries.has(uid) && settle();
      const timer = setTimeout(settle, ANNOUNCE_WAIT_MS);
      this.#waiting.add(look);
    });
  }
}

function unknownSession(uid: string): CzError {
  return new CzError('UNKNOWN_SESSION', `no session "${uid}"`);
}

function inTurn<T>(entry: Entry, work: () => Promise<T>): Promise<T> {
  const result = entry.turn.then(work);
  entry.turn = result.catch(() => undefined);
  return result;
}

/**
 * Returns the seconds that a Session found by a manager has left: little for a laptop that never came (its connect
 * failed, and its user may not delete), what is left of the lease for one that was away already, else all of it.
 */
function leftOfLease(status: SessionStatus | undefined, leaseSeconds: number): number {
  if (status?.connectedSince === undefined) return Math.min(JOIN_SECONDS, leaseSeconds);
  if (status.phase !== 'Away') return leaseSeconds;
  const away = (Date.now() - Date.parse(status.lastSeen ?? '')) / 1000;
  return Math.min(Math.max(leaseSeconds - away, JOIN_SECONDS) || leaseSeconds, leaseSeconds);
}

function connectedNow(resource: SessionResource): { connectedSince: string; lastSeen: string } {
  const now = new Date().toISOString();
  return { connectedSince: resource.status?.connectedSince ?? now, lastSeen: now };
}
