/**
 * The heartbeat on the data path, and the judgement that a websocket is dead though nobody closed it. PROTOCOL.md §5.
 */
import { performance } from 'node:perf_hooks';

/** PROTOCOL.md §5. */
const PING_EVERY_MS = 2000;
/** PROTOCOL.md §5. With ticks of half a second a cut is found within 6.5 s of the last byte. */
const SILENCE_LIMIT_MS = 6000;
/** PROTOCOL.md §5: bytes come, but ours do not arrive. */
const UNHEARD_LIMIT_MS = 15_000;
const TICK_MS = 500;
/** A tick this late says that this process stood still (our choice: a busy machine's pause is shorter). */
const STALL_MS = 2000;

export interface HeartbeatOptions {
  /** Sends a ping with this token. */
  ping(token: number): void;
  /** Bytes received from the network so far. */
  receivedBytes(): number;
  /** Called once: nothing is heard any more, or nothing of ours arrives. */
  silent(afterMs: number): void;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #pings = new Map<number, number>();
  #token = 0;
  #bytes = 0;
  #tickAt = performance.now();
  #pingAt = Number.NEGATIVE_INFINITY;
  #heardAt = this.#tickAt;
  #arrivedAt = this.#tickAt;

  /** Starts at once, with a ping. */
  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#ping(this.#tickAt);
  }

  /** Returns the round trip in ms of a pong, undefined for a token that was not sent or is answered already. */
  pong(token: number): number | undefined {
    const sentAt = this.#pings.get(token);
    if (sentAt === undefined) return undefined;
    this.#pings.delete(token);
    this.arrived();
    return performance.now() - sentAt;
  }

  /** Something of ours is known to have arrived. */
  arrived(): void {
    this.#arrivedAt = this.#tickAt;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#pings.clear();
  }

  #tick(): void {
    const now = performance.now();
    const late = now - this.#tickAt - TICK_MS;
    this.#tickAt = now;
    if (late > STALL_MS) {
      this.#heardAt += late; // time in which nobody here could listen does not count
      this.#arrivedAt += late;
    }
    const bytes = this.#options.receivedBytes();
    if (bytes !== this.#bytes) this.#heardAt = now;
    this.#bytes = bytes;
    this.#judge(now);
  }

  #judge(now: number): void {
    const silence = now - this.#heardAt;
    const unheard = now - this.#arrivedAt;
    if (silence >= SILENCE_LIMIT_MS) this.#options.silent(silence);
    else if (unheard >= UNHEARD_LIMIT_MS) this.#options.silent(unheard);
    else if (now - this.#pingAt >= PING_EVERY_MS - TICK_MS / 2) this.#ping(now);
  }

  #ping(now: number): void {
    this.#pingAt = now;
    this.#token = (this.#token + 1) % 2 ** 32;
    this.#pings.set(this.#token, now);
    this.#options.ping(this.#token);
  }
}
