/**
 * The daemon's life: one connection at a time, and the calls of the control socket on it. It ends with its
 * connection: a daemon that connects nobody has nothing to do.
 */
import { CzError, messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { Journal } from '../base/undo.js';
import { createAccess, type Authorize, type Owner } from '../control/access.js';
import {
  LOG_PATH,
  type ConnectParams,
  type ConnectResult,
  type DisconnectResult,
  type ProgressEvent,
} from '../control/schema.js';
import type { Call, Handlers } from '../control/server.js';
import { Connection } from './connection.js';
import { checkConnection } from './checks.js';
import { statusOf } from './status.js';

/** A daemon that nobody asks to connect ends after this (our choice: its starter asks at once). */
const IDLE_MS = 10_000;

export interface LifeOptions {
  readonly journal: Journal;
  readonly log: Log;
}

export class Life {
  readonly #options: LifeOptions;
  readonly #stop = new AbortController();
  readonly #ended: PromiseLike<string>;
  #end: (reason: string) => void = () => undefined;
  #connection: Connection | undefined;
  #opening: Promise<void> | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: LifeOptions) {
    this.#options = options;
    this.#ended = new Promise((resolve) => (this.#end = resolve));
    this.#waitForWork();
  }

  /** Resolves with the reason when the daemon has nothing more to do. */
  get ended(): PromiseLike<string> {
    return this.#ended;
  }

  get authorize(): Authorize {
    return createAccess(() => this.#owner());
  }

  get handlers(): Handlers {
    return {
      connect: (params, call) => this.#connect(params, call),
      disconnect: () => this.#disconnect(),
      status: async () => statusOf(this.#connection),
      logs: async () => ({ path: LOG_PATH, manager: statusOf(this.#connection).manager }),
      doctor: async () => ({ findings: await checkConnection(this.#connection) }),
    };
  }

  /** Writes the counters of the data path into the log. */
  logCounters(): void {
    this.#options.log.info('counters', this.#connection?.counters);
  }

  /** Ends whatever is under way and undoes everything; returns what could not be undone. */
  async close(): Promise<readonly string[]> {
    this.#stop.abort();
    clearTimeout(this.#idle);
    await this.#opening?.catch(() => undefined);
    return (await this.#connection?.close()) ?? [];
  }

  async #connect(params: ConnectParams, call: Call): Promise<ConnectResult> {
    clearTimeout(this.#idle);
    if (this.#connection === undefined) return this.#openNew(params, call);
    await this.#opening?.catch(() => undefined);
    if (this.#connection === undefined)
      throw new CzError('CONFLICT', 'the daemon is ending', { hint: 'try again' });
    const changes = await this.#connection.change(params);
    const outcome = changes.length === 0 ? 'unchanged' : 'changed';
    return { outcome, changes, status: statusOf(this.#connection) };
  }

  async #openNew(params: ConnectParams, call: Call): Promise<ConnectResult> {
    const connection = new Connection({
      params,
      journal: this.#options.journal,
      log: this.#options.log,
      progress: (event: ProgressEvent) => call.emit(event),
      signal: AbortSignal.any([this.#stop.signal, call.signal]),
      onEnded: (reason) => this.#end(reason),
    });
    this.#connection = connection;
    this.#opening = connection.open();
    try {
      await this.#opening;
    } catch (error) {
      this.#connection = undefined;
      this.#end(`connecting failed: ${messageOf(error)}`);
      throw error;
    }
    return { outcome: 'connected', changes: [], status: statusOf(connection) };
  }

  async #disconnect(): Promise<DisconnectResult> {
    const wasConnected = this.#connection !== undefined;
    const context = statusOf(this.#connection).context;
    const leftovers = await this.close();
    this.#end('disconnected by the user');
    return { wasConnected, context, leftovers };
  }

  #owner(): Owner | undefined {
    return this.#connection?.params.invoker;
  }

  #waitForWork(): void {
    this.#idle = setTimeout(() => this.#end('nobody asked to connect'), IDLE_MS);
  }
}
