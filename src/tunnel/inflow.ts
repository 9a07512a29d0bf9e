/**
 * The receiving side of one stream: what came, what the user has read, and how far the peer may go. Pure
 * bookkeeping. PROTOCOL.md §6.
 */
import { CzError } from '../base/errors.js';

/** A stream's window when the link has room for it (PROTOCOL.md §6). */
const WINDOW_FIRST_BYTES = 256 * 1024;
/** … and when it has none left (PROTOCOL.md §6). */
const WINDOW_LEAST_BYTES = 16 * 1024;
/** The longest window (PROTOCOL.md §6). */
const WINDOW_MAX_BYTES = 8 * 1024 * 1024;
/** All windows of a link together (PROTOCOL.md §6). */
const WINDOWS_MAX_BYTES = 64 * 1024 * 1024;

/** What all windows of a link share. */
export class WindowBudget {
  #used = 0;

  /** Returns the window for a new stream. */
  first(): number {
    const window =
      this.#used + WINDOW_FIRST_BYTES <= WINDOWS_MAX_BYTES ? WINDOW_FIRST_BYTES : WINDOW_LEAST_BYTES;
    this.#used += window;
    return window;
  }

  /** Returns twice the window if there is room for that, else the same. */
  doubled(window: number): number {
    const wanted = Math.min(window * 2, WINDOW_MAX_BYTES);
    if (window < WINDOW_FIRST_BYTES || this.#used + wanted - window > WINDOWS_MAX_BYTES) return window;
    this.#used += wanted - window;
    return wanted;
  }

  release(window: number): void {
    this.#used -= window;
  }
}

export class InFlow {
  readonly #budget: WindowBudget;
  #window: number;
  #received = 0;
  #read = 0;
  #limit: number;
  #raisedAt: number;
  #ended = false;
  #released = false;

  /** `now` in ms. Takes its window from the budget until `release`. */
  constructor(budget: WindowBudget, now: number) {
    this.#budget = budget;
    this.#window = budget.first();
    this.#limit = this.#window;
    this.#raisedAt = now;
  }

  get received(): number {
    return this.#received;
  }

  get limit(): number {
    return this.#limit;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Bytes came. @throws MALFORMED not where the former ended · FLOW_CONTROL beyond the limit */
  take(offset: number, length: number): void {
    if (this.#ended || offset !== this.#received) throw new CzError('MALFORMED', 'data with a gap or repeat');
    if (offset + length > this.#limit) throw new CzError('FLOW_CONTROL', 'data beyond its limit');
    this.#received += length;
  }

  /** The end came. @throws MALFORMED elsewhere than at the end */
  takeEnd(offset: number): void {
    if (this.#ended || offset !== this.#received) throw new CzError('MALFORMED', 'an end with a gap');
    this.#ended = true;
  }

  /** The user has read so many bytes more. Returns whether the limit was raised: the peer is to be told. */
  read(length: number, now: number, roundTripMs: number): boolean {
    this.#read += length;
    if (this.#ended || this.#limit - this.#read > this.#window / 2) return false;
    if (now - this.#raisedAt < roundTripMs) this.#window = this.#budget.doubled(this.#window);
    this.#raisedAt = now;
    this.#limit = this.#read + this.#window;
    return true;
  }

  /** Gives the window back. Idempotent. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#budget.release(this.#window);
  }
}
