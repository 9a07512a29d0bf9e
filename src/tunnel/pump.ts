/**
 * The sender: moves what waits (packets, mux frames) into messages, while the path has room. One message from each
 * source in turn, in a few reusable arenas; an arena comes back when the kernel has its bytes. On the packet's walk:
 * TUN queue → here → carrier. Nothing is queued here.
 */
import { performance } from 'node:perf_hooks';
import { MESSAGE_LIMIT_BYTES, type Carrier } from './carrier.js';
import type { PathWindow } from './window.js';

/** Messages that the carrier may hold at once (our choice: one at the socket, one behind it, one being filled). */
const ARENAS_MAX = 3;
/** A message holds about this much of the path's time, so that the next one's turn comes soon. Our choice. */
const MESSAGE_MS = 1;
/** … but not less than this, so that messages are not all heads (our choice: 13 ms at 10 Mbit/s). */
const MESSAGE_MIN_BYTES = 16 * 1024;

/** Where messages come from. */
export interface Source {
  /**
   * Writes one whole message into the arena and returns its length, about `wanted` bytes at most; 0: nothing waits,
   * the pump is told when it does.
   */
  fill(arena: Buffer, wanted: number): number;
  /** A message that was filled is with the carrier; `total` is the path's count after it, its own length included. */
  sent(total: number, length: number): void;
}

export class Pump {
  readonly #sources: readonly Source[];
  readonly #carrier: Carrier;
  readonly #window: PathWindow;
  readonly #beforeSend: () => void;
  readonly #arenas: Buffer[];
  #unmade = ARENAS_MAX;
  #total = 0;
  #turn = 0;
  #running = false;
  #closed = false;

  /** `beforeSend` runs before each message: what can ride along is sent then. */
  constructor(options: {
    readonly sources: readonly Source[];
    readonly carrier: Carrier;
    readonly window: PathWindow;
    readonly beforeSend: () => void;
  }) {
    this.#sources = options.sources;
    this.#carrier = options.carrier;
    this.#window = options.window;
    this.#beforeSend = options.beforeSend;
    this.#arenas = [];
  }

  /** Sends what waits, as far as there is room. Cheap when there is nothing. */
  run(): void {
    if (this.#running || this.#closed) return;
    this.#running = true;
    try {
      while (this.#step());
    } finally {
      this.#running = false;
    }
  }

  /** Sends nothing more. The carrier may still hold arenas: they are not used again. */
  close(): void {
    this.#closed = true;
  }

  #step(): boolean {
    if (this.#closed || this.#window.room < 1) return false;
    const arena = this.#arenas.pop() ?? this.#make();
    if (arena === undefined) return false;
    const rated = this.#window.rate * MESSAGE_MS;
    const wanted = Math.round(Math.min(Math.max(rated, MESSAGE_MIN_BYTES), MESSAGE_LIMIT_BYTES));
    for (let tried = 0; tried < this.#sources.length; tried += 1) {
      const source = this.#sources[this.#turn];
      this.#turn = (this.#turn + 1) % this.#sources.length;
      const length = source?.fill(arena, wanted) ?? 0;
      if (source !== undefined && length > 0) {
        this.#send(source, arena, length);
        return true;
      }
    }
    this.#arenas.push(arena);
    return false;
  }

  #send(source: Source, arena: Buffer, length: number): void {
    this.#beforeSend();
    this.#total += length;
    this.#window.sent(performance.now(), length);
    source.sent(this.#total, length);
    this.#carrier.sendBinary(arena.subarray(0, length), () => {
      this.#arenas.push(arena);
      this.run();
    });
  }

  #make(): Buffer | undefined {
    if (this.#unmade === 0) return undefined;
    this.#unmade -= 1;
    return Buffer.allocUnsafeSlow(MESSAGE_LIMIT_BYTES);
  }
}
