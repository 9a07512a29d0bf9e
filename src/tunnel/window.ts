/**
 * The path window: how many bytes may be in flight so that the link is full and no queue stands in proxies and
 * sockets behind it. Pure: times come in as milliseconds. PROTOCOL.md §5.
 *
 * It judges as CoDel does (RFC 8289 §3): what counts is the shortest round trip of an interval. A burst, or a process
 * that waited for its processor, lengthens some round trips; only a standing queue lengthens all of them. Below the
 * target the window grows, above it shrinks to what the base round trip and the target would hold. No rate is
 * assumed: on a path that processors limit, a rate says how busy they were, not what the path can carry.
 */
import { CzError } from '../base/errors.js';

/** Never less in flight (our choice: one full super-packet). */
const WINDOW_MIN_BYTES = 64 * 1024;
/** Never more in flight (our choice: 10 Gbit/s × 6 ms, or 400 Mbit/s × 160 ms). */
const WINDOW_MAX_BYTES = 8 * 1024 * 1024;
/** In flight before anything was measured (our choice: fills 100 Mbit/s × 40 ms). */
const WINDOW_FIRST_BYTES = 512 * 1024;
/** The standing queue that is allowed: a part of the base round trip, within bounds, in ms. Our choice, measured. */
const TARGET_PART = 0.12;
const TARGET_MIN_MS = 3;
const TARGET_MAX_MS = 8;
/** An interval is a round trip, at least this long (our choice: many time slices of a busy machine; CoDel's is 100) … */
const INTERVAL_MIN_MS = 50;
/** … and has at least so many samples. */
const SAMPLES_MIN = 8;
/** Growth an interval: until a queue was seen; below half the target; below the target. */
const GROW_START = 2;
const GROW_FAST = 1.25;
const GROW_SLOW = 1.06;
/** The least that an interval above the target leaves (RFC 5681 halves, too). */
const SHRINK_MOST = 0.5;
/** The base is looked for again when it is this old (BBR's ProbeRTT: 5 – 10 s). */
const BASE_LIFE_MS = 10_000;
/** In flight while it is looked for, as a part of the window (BBRv2: 0.5). */
const PROBE_PART = 0.4;
/** Messages whose sending times are kept; beyond, neighbours share one (our choice: 64 MiB of full messages). */
const RECORDS_MAX = 1024;

export class PathWindow {
  #sent = 0;
  #acked = 0;
  readonly #records = new Records();

  #window = WINDOW_FIRST_BYTES;
  #starting = true;
  #base = Number.POSITIVE_INFINITY;
  #baseAt = 0;
  #probeEnd: number | undefined;

  /** The interval: when it began, its shortest round trip, its samples, what it delivered, whether it was filled. */
  #since = 0;
  #shortest = Number.POSITIVE_INFINITY;
  #samples = 0;
  #ackedBefore = 0;
  #filled = false;
  #rate = 0;
  #roundTrip: number | undefined;

  /** Bytes that may be in flight. */
  get windowBytes(): number {
    return this.#probeEnd === undefined
      ? this.#window
      : Math.max(this.#window * PROBE_PART, WINDOW_MIN_BYTES);
  }

  get inFlightBytes(): number {
    return this.#sent - this.#acked;
  }

  /** What the last interval delivered, in bytes per ms; 0 before. */
  get rate(): number {
    return this.#rate;
  }

  /** Shortest round trip of the last seconds in ms, without the time that acks were held. */
  get baseMs(): number | undefined {
    return Number.isFinite(this.#base) ? this.#base : undefined;
  }

  /** Shortest round trip of the last interval in ms: a standing queue is in it. */
  get roundTripMs(): number | undefined {
    return this.#roundTrip;
  }

  /** Returns how many bytes may be sent now; none when below 1. */
  get room(): number {
    return this.windowBytes - this.inFlightBytes;
  }

  /** A message of this many bytes is handed to the carrier. */
  sent(now: number, bytes: number): void {
    if (this.#sent === this.#acked) this.#begin(now);
    this.#sent += bytes;
    this.#records.push(this.#sent, now);
    if (this.room < 1) this.#filled = true;
  }

  /** The peer has `total` bytes, the last of them for `heldMs`. @throws MALFORMED beyond what was sent, or below a former ack */
  acked(now: number, total: number, heldMs: number): void {
    if (total > this.#sent || total < this.#acked)
      throw new CzError('MALFORMED', 'an ack of bytes that were not sent');
    const sentAt = this.#records.popTo(total);
    if (total === this.#acked) return;
    this.#acked = total;
    if (sentAt === undefined) return;
    const held = Math.min(Math.max(heldMs, 0), now - sentAt);
    this.measured(now, now - sentAt - held);
    const age = now - this.#since;
    if (this.#samples >= SAMPLES_MIN && age >= Math.max(INTERVAL_MIN_MS, this.#shortest))
      this.#judge(now, age);
  }

  /** Takes a round trip in ms, also one that was measured otherwise (the heartbeat's). */
  measured(now: number, roundTripMs: number): void {
    this.#samples += 1;
    this.#shortest = Math.min(this.#shortest, roundTripMs);
    if (roundTripMs <= this.#base) {
      this.#base = roundTripMs;
      this.#baseAt = now;
    }
  }

  #begin(now: number): void {
    this.#since = now;
    this.#shortest = Number.POSITIVE_INFINITY;
    this.#samples = 0;
    this.#ackedBefore = this.#acked;
    this.#filled = this.room < 1;
  }

  #judge(now: number, age: number): void {
    this.#roundTrip = this.#shortest;
    this.#rate = (this.#acked - this.#ackedBefore) / age;
    if (this.#probeEnd !== undefined) this.#endProbe(now);
    else if (now - this.#baseAt > BASE_LIFE_MS) this.#probeEnd = now + 2 * this.#shortest;
    else this.#resize();
    this.#begin(now);
  }

  /** With less in flight the queue is gone: what is measured now is the path. */
  #endProbe(now: number): void {
    if (this.#probeEnd === undefined || now < this.#probeEnd) return;
    this.#probeEnd = undefined;
    this.#base = this.#shortest;
    this.#baseAt = now;
  }

  #resize(): void {
    const target = Math.min(Math.max(this.#base * TARGET_PART, TARGET_MIN_MS), TARGET_MAX_MS);
    const queue = this.#shortest - this.#base;
    let factor = 1;
    if (queue > target) {
      this.#starting = false;
      factor = Math.max((this.#base + target) / this.#shortest, SHRINK_MOST);
    } else if (this.#filled) {
      factor = queue > target / 2 ? GROW_SLOW : this.#starting ? GROW_START : GROW_FAST;
    }
    this.#window = Math.min(Math.max(this.#window * factor, WINDOW_MIN_BYTES), WINDOW_MAX_BYTES);
  }
}

/** A ring of what was sent and is not acknowledged: the count after each message, and when it was sent. */
class Records {
  readonly #total = new Float64Array(RECORDS_MAX);
  readonly #sentAt = new Float64Array(RECORDS_MAX);
  #head = 0;
  #size = 0;

  push(total: number, at: number): void {
    if (this.#size === RECORDS_MAX) {
      this.#total[(this.#head + RECORDS_MAX - 1) % RECORDS_MAX] = total;
      return;
    }
    const slot = (this.#head + this.#size) % RECORDS_MAX;
    this.#total[slot] = total;
    this.#sentAt[slot] = at;
    this.#size += 1;
  }

  /** Removes all up to `total` and returns when the last of them was sent. */
  popTo(total: number): number | undefined {
    let sentAt: number | undefined;
    while (this.#size > 0 && (this.#total[this.#head] ?? Infinity) <= total) {
      sentAt = this.#sentAt[this.#head];
      this.#head = (this.#head + 1) % RECORDS_MAX;
      this.#size -= 1;
    }
    return sentAt;
  }
}
