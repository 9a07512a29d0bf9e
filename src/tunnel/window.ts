/**
 * The path window: how many bytes may be in flight so that the link is full and no queue stands in proxies and
 * sockets behind it. Pure: times come in as milliseconds. PROTOCOL.md §5.
 *
 * It follows BBR's model (draft-ietf-ccwg-bbr): window = delivery rate × (shortest round trip + a small target), where
 * the rate is the greatest of the last rounds' samples and the shortest round trip is looked for again every few
 * seconds with less in flight. Unlike BBR it does not pace: TCP below does. A few operations an ack, none a packet.
 */
import { CzError } from '../base/errors.js';

/** Never less in flight (our choice: one full super-packet, and acks of former ones on their way). */
const WINDOW_MIN_BYTES = 64 * 1024;
/** Never more in flight (our choice: 10 Gbit/s × 6 ms, or 400 Mbit/s × 160 ms). */
const WINDOW_MAX_BYTES = 8 * 1024 * 1024;
/** In flight before anything was measured (our choice: fills 100 Mbit/s × 20 ms). */
const WINDOW_FIRST_BYTES = 256 * 1024;
/** The standing queue that is aimed at: a part of the shortest round trip, within bounds, in ms. Our choice, simulated. */
const TARGET_PART = 0.12;
const TARGET_MIN_MS = 1.5;
const TARGET_MAX_MS = 8;
/** Growth per round until the rate stops growing (BBR: 2.77 with pacing; without, 2 fills in the same rounds). */
const STARTUP_GAIN = 2;
/** The rate has stopped growing: less than this factor in so many rounds (BBR §4.3.1.2). */
const FULL_FACTOR = 1.25;
const FULL_ROUNDS = 3;
/** Rounds whose greatest rate counts (BBR §2.10: 10; fewer forget an overestimate sooner). */
const RATE_ROUNDS = 8;
/** The shortest round trip is looked for again when it is this old (BBR's ProbeRTT: 5 – 10 s). */
const BASE_LIFE_MS = 10_000;
/** In flight while it is looked for, as a part of rate × round trip (BBRv2: 0.5). */
const PROBE_GAIN = 0.5;
/** Messages whose sending times are kept; beyond, neighbours share one (our choice: 64 MiB of full messages). */
const RECORDS_MAX = 1024;

type Phase = 'startup' | 'steady' | 'probe';

export class PathWindow {
  #sent = 0;
  #acked = 0;
  /** When the last acknowledged byte was received, on our clock. */
  #ackedAt = 0;
  #firstSentAt = 0;
  #limitedUntil = 0;
  readonly #records = new Records();

  #phase: Phase = 'startup';
  #base = Number.POSITIVE_INFINITY;
  #baseAt = 0;
  #probeMin = Number.POSITIVE_INFINITY;
  #probeEnd = 0;
  #roundTrip: number | undefined;
  #held = 0;

  readonly #rates = new Float64Array(RATE_ROUNDS);
  #round = 0;
  #roundEnd = 0;
  #roundMin = Number.POSITIVE_INFINITY;
  #roundLimited = true;
  #fullRate = 0;
  #fullRounds = 0;
  #window = WINDOW_FIRST_BYTES;

  /** Bytes that may be in flight. */
  get windowBytes(): number {
    return this.#window;
  }

  get inFlightBytes(): number {
    return this.#sent - this.#acked;
  }

  /** Delivery rate in bytes per ms; 0 before the first sample. */
  get rate(): number {
    let most = 0;
    for (const rate of this.#rates) if (rate > most) most = rate;
    return most;
  }

  /** Shortest round trip in ms, without the time that acks were held. */
  get baseMs(): number | undefined {
    return Number.isFinite(this.#base) ? this.#base : undefined;
  }

  /** Smoothed round trip in ms, queues included. */
  get roundTripMs(): number | undefined {
    return this.#roundTrip;
  }

  /** Returns how many bytes may be sent now; none when below 1. */
  get room(): number {
    return this.#window - (this.#sent - this.#acked);
  }

  /** A message of this many bytes is handed to the carrier. */
  sent(now: number, bytes: number): void {
    if (this.#sent === this.#acked) {
      this.#firstSentAt = now;
      this.#ackedAt = now;
    }
    this.#sent += bytes;
    this.#records.push(this.#sent, now, this.#acked, this.#ackedAt, this.#firstSentAt, this.#limitedUntil);
  }

  /** There is room but nothing to send: rates measured from here say nothing about the path. */
  idle(): void {
    this.#limitedUntil = this.#sent;
  }

  /** The peer has `total` bytes, the last of them for `heldMs`. @throws MALFORMED beyond what was sent, or below a former ack */
  acked(now: number, total: number, heldMs: number): void {
    if (total > this.#sent || total < this.#acked)
      throw new CzError('MALFORMED', 'an ack of bytes that were not sent');
    const record = this.#records.popTo(total);
    const newly = total - this.#acked;
    this.#acked = total;
    if (record === undefined || newly === 0) return;
    const held = Math.min(Math.max(heldMs, 0), now - record.sentAt);
    const receivedAt = now - held;
    this.#held += (held - this.#held) / 8;
    this.#takeRoundTrip(now, receivedAt - record.sentAt);
    this.#takeRate(record, total, receivedAt);
    this.#ackedAt = receivedAt;
    this.#firstSentAt = record.sentAt;
    this.#size();
  }

  /** A round trip measured otherwise (the heartbeat's), in ms. */
  measured(now: number, roundTripMs: number): void {
    this.#takeRoundTrip(now, roundTripMs);
  }

  #takeRoundTrip(now: number, sample: number): void {
    const before = this.#roundTrip ?? sample;
    this.#roundTrip = before + (sample - before) / 8;
    this.#roundMin = Math.min(this.#roundMin, sample);
    if (sample <= this.#base) {
      this.#base = sample;
      this.#baseAt = now;
    }
    if (this.#phase === 'probe') this.#probe(now, sample);
    else if (now - this.#baseAt > BASE_LIFE_MS) this.#startProbe(now);
  }

  #startProbe(now: number): void {
    this.#phase = 'probe';
    this.#probeMin = Number.POSITIVE_INFINITY;
    this.#probeEnd = now + 2 * (this.#roundTrip ?? 0) + TARGET_MAX_MS;
    this.#size();
  }

  #probe(now: number, sample: number): void {
    this.#probeMin = Math.min(this.#probeMin, sample);
    if (now < this.#probeEnd) return;
    this.#base = this.#probeMin;
    this.#baseAt = now;
    this.#phase = 'steady';
  }

  #takeRate(record: Sent, total: number, receivedAt: number): void {
    const interval = Math.max(record.sentAt - record.firstSentAt, receivedAt - record.ackedAt);
    const limited = record.limited;
    if (interval > 0 && interval >= this.#base * 0.5) {
      const rate = (total - record.acked) / interval;
      if (!limited || rate > this.rate) this.#noteRate(rate);
      if (!limited) this.#roundLimited = false;
    }
    if (record.acked >= this.#roundEnd) this.#endRound();
  }

  #noteRate(rate: number): void {
    const slot = this.#round % RATE_ROUNDS;
    if (rate > (this.#rates[slot] ?? 0)) this.#rates[slot] = rate;
  }

  #endRound(): void {
    this.#roundEnd = this.#sent;
    const limited = this.#roundLimited;
    const queue = this.#roundMin - this.#base;
    this.#roundLimited = true;
    this.#roundMin = Number.POSITIVE_INFINITY;
    if (limited) return;
    if (this.#phase === 'startup') this.#judgeStartup(queue);
    else if (this.#phase === 'steady' && queue > 2 * this.#target()) this.#forgetRates();
    this.#round += 1;
    this.#rates[this.#round % RATE_ROUNDS] = 0;
  }

  #judgeStartup(queue: number): void {
    const rate = this.rate;
    const grows = rate >= this.#fullRate * FULL_FACTOR;
    if (grows) this.#fullRate = rate;
    this.#fullRounds = grows ? 0 : this.#fullRounds + 1;
    if (this.#fullRounds >= FULL_ROUNDS || queue > 2 * this.#target() + this.#base / 2)
      this.#phase = 'steady';
  }

  /** A queue stood through a whole round: what the path delivers now is what counts. */
  #forgetRates(): void {
    const latest = this.#rates[this.#round % RATE_ROUNDS] ?? 0;
    if (latest <= 0) return;
    this.#rates.fill(0);
    this.#rates[this.#round % RATE_ROUNDS] = latest;
  }

  #target(): number {
    return Math.min(Math.max(this.#base * TARGET_PART, TARGET_MIN_MS), TARGET_MAX_MS);
  }

  #size(): void {
    const rate = this.rate;
    if (rate === 0) return;
    const bytes =
      this.#phase === 'probe'
        ? rate * this.#base * PROBE_GAIN
        : rate * (this.#base + this.#held + this.#target()) * (this.#phase === 'startup' ? STARTUP_GAIN : 1);
    this.#window = Math.min(Math.max(bytes, WINDOW_MIN_BYTES), WINDOW_MAX_BYTES);
  }
}

interface Sent {
  readonly sentAt: number;
  /** Bytes that were acknowledged when it was sent, and when the last of them was received. */
  readonly acked: number;
  readonly ackedAt: number;
  readonly firstSentAt: number;
  readonly limited: boolean;
}

/** A ring of what was sent and is not acknowledged. */
class Records {
  readonly #total = new Float64Array(RECORDS_MAX);
  readonly #sentAt = new Float64Array(RECORDS_MAX);
  readonly #acked = new Float64Array(RECORDS_MAX);
  readonly #ackedAt = new Float64Array(RECORDS_MAX);
  readonly #firstSentAt = new Float64Array(RECORDS_MAX);
  readonly #limitedUntil = new Float64Array(RECORDS_MAX);
  #head = 0;
  #size = 0;

  push(total: number, at: number, acked: number, ackedAt: number, first: number, limitedUntil: number): void {
    if (this.#size === RECORDS_MAX) {
      this.#total[(this.#head + RECORDS_MAX - 1) % RECORDS_MAX] = total;
      return;
    }
    const slot = (this.#head + this.#size) % RECORDS_MAX;
    this.#total[slot] = total;
    this.#sentAt[slot] = at;
    this.#acked[slot] = acked;
    this.#ackedAt[slot] = ackedAt;
    this.#firstSentAt[slot] = first;
    this.#limitedUntil[slot] = limitedUntil;
    this.#size += 1;
  }

  /** Removes all up to `total` and returns the last of them. */
  popTo(total: number): Sent | undefined {
    let last = -1;
    while (this.#size > 0 && (this.#total[this.#head] ?? Infinity) <= total) {
      last = this.#head;
      this.#head = (this.#head + 1) % RECORDS_MAX;
      this.#size -= 1;
    }
    if (last === -1) return undefined;
    const acked = this.#acked[last] ?? 0;
    return {
      sentAt: this.#sentAt[last] ?? 0,
      acked,
      ackedAt: this.#ackedAt[last] ?? 0,
      firstSentAt: this.#firstSentAt[last] ?? 0,
      limited: (this.#limitedUntil[last] ?? 0) > acked,
    };
  }
}
