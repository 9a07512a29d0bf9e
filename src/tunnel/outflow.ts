/**
 * The sending side of one stream: keeps what the user wrote until the peer has it, and knows what may be
 * sent. Pure bookkeeping. Offsets count from the stream's first byte. PROTOCOL.md §6, §7.
 */
import { CzError } from '../base/errors.js';
import { ByteRing } from './byte-ring.js';

/** Bytes kept beyond what the peer's limit lets go (our choice: the user's next write is ready when credit comes). */
const AHEAD_BYTES = 64 * 1024;
/** Most bytes kept: the longest window and what is ahead of it. */
const KEPT_MAX_BYTES = 8 * 1024 * 1024 + AHEAD_BYTES;

/** Bytes that all streams of a link keep for sending (our choice: as all windows together). */
const ALL_KEPT_MAX_BYTES = 64 * 1024 * 1024;
/** What a stream may keep even then, so that none starves. */
const KEPT_LEAST_BYTES = 16 * 1024;

/** What all streams of a link may keep together. */
export class KeptBudget {
  #bytes = 0;

  /** Writes to the flow what it and the budget have room for; returns how much. */
  write(flow: OutFlow, chunk: Buffer): number {
    const most = Math.max(ALL_KEPT_MAX_BYTES - this.#bytes, KEPT_LEAST_BYTES - flow.keptBytes);
    const length = flow.write(chunk, most);
    this.#bytes += length;
    return length;
  }

  /** Runs what may change the bytes that the flow keeps. */
  track(flow: OutFlow, change: () => void): void {
    const before = flow.keptBytes;
    change();
    this.#bytes += flow.keptBytes - before;
  }
}

export class OutFlow {
  readonly #ring = new ByteRing();
  /** First byte kept: all before it is with the peer. */
  #base = 0;
  /** Next byte to send. */
  #next = 0;
  /** Behind the last byte written. */
  #end = 0;
  /** Behind the last byte ever sent. */
  #sentMax = 0;
  #limit: number;
  #finished = false;
  #endSent = false;
  #endAcked = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes kept. */
  get keptBytes(): number {
    return this.#end - this.#base;
  }

  /** Bytes that may be sent now. */
  get sendable(): number {
    return Math.max(0, Math.min(this.#end, this.#limit) - this.#next);
  }

  get offset(): number {
    return this.#next;
  }

  /** The end is to be said now. */
  get endDue(): boolean {
    return this.#finished && !this.#endSent && this.#next === this.#end;
  }

  /** The end has been said, heard or not. */
  get endSent(): boolean {
    return this.#endSent || this.#endAcked;
  }

  /** The peer has everything, the end too. */
  get settled(): boolean {
    return this.#endAcked;
  }

  /** Copies as much of `chunk` as there is room for and returns how much; `most` bounds it further. */
  write(chunk: Buffer, most: number): number {
    const ahead = Math.max(this.#limit - this.#base, 0) + AHEAD_BYTES;
    const room = Math.min(ahead, KEPT_MAX_BYTES) - this.keptBytes;
    const length = Math.max(0, Math.min(chunk.length, room, most));
    if (length === 0) return 0;
    this.#ring.append(chunk.subarray(0, length));
    this.#end += length;
    return length;
  }

  /** Nothing more is written. */
  finish(): void {
    this.#finished = true;
  }

  /** Raises the peer's limit; a lower one is ignored. */
  raise(limit: number): void {
    this.#limit = Math.max(this.#limit, limit);
  }

  /** Copies up to `most` sendable bytes to `at` and returns how many; they count as sent. */
  send(arena: Buffer, at: number, most: number): number {
    const length = Math.min(this.sendable, most);
    this.#ring.copy(this.#next - this.#base, arena, at, length);
    this.#next += length;
    this.#sentMax = Math.max(this.#sentMax, this.#next);
    return length;
  }

  sendEnd(): void {
    this.#endSent = true;
  }

  /** The peer has all before `offset`, and the end if `ended`. */
  acked(offset: number, ended: boolean): void {
    if (offset > this.#base) {
      this.#ring.drop(offset - this.#base);
      this.#base = offset;
    }
    if (ended) this.#endAcked = true;
  }

  /** A new websocket: sends on from where the peer is. @throws MALFORMED for a place that cannot be */
  resume(received: number, ended: boolean): void {
    const possible = received >= this.#base && received <= this.#sentMax;
    if (!possible || (ended && !(this.#finished && received === this.#end)))
      throw new CzError('MALFORMED', 'a stream resumed where it never was');
    this.#next = received;
    this.#endSent = ended;
    this.acked(received, ended);
  }

  /** Forgets everything. */
  forget(): void {
    this.#ring.drop(this.keptBytes);
    this.#base = this.#end;
    this.#next = this.#end;
  }
}
