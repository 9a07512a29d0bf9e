/**
 * A path on a virtual clock: a link of some rate and delay with a queue, a sender that always has bulk, a receiver that
 * acknowledges by PROTOCOL.md §5. Says how much of the link was used and what a small request beside the bulk would wait.
 */
import { PathWindow } from '../../../src/tunnel/window.js';

export interface PathModel {
  /** Bytes per ms at a time in ms. */
  readonly rate: (at: number) => number;
  /** One way, in ms. */
  readonly delayMs: number;
  /** How long the link stands still before the message that starts at this time, in ms: a processor that is elsewhere. */
  readonly stall?: (at: number) => number;
}

export interface Outcome {
  /** Part of the link's capacity that carried bulk. */
  readonly used: number;
  /** Round trip of small requests in ms. */
  readonly p50: number;
  readonly p90: number;
  readonly windowBytes: number;
}

/** PROTOCOL.md §5. */
const ACK_BYTES = 64 * 1024;
const ACK_MS = 2;
const MESSAGE_MIN_BYTES = 16 * 1024;
const MESSAGE_MAX_BYTES = 256 * 1024;

interface Event {
  readonly at: number;
  readonly run: () => void;
}

/** Runs the model from 0 to `untilMs` and judges what happened from `fromMs` on. */
export function simulate(model: PathModel, fromMs: number, untilMs: number): Outcome {
  const run = new Run(model);
  run.until(untilMs);
  return run.judge(fromMs, untilMs);
}

class Run {
  readonly #model: PathModel;
  readonly #window = new PathWindow();
  readonly #events: Event[] = [];
  #now = 0;
  #freeAt = 0;
  #received = 0;
  #pending = 0;
  #lastAt = 0;
  #timer: number | undefined;
  /** When each message was sent, when it was delivered, and its bytes. */
  readonly #messages: { readonly sentAt: number; readonly deliveredAt: number; readonly bytes: number }[] =
    [];

  constructor(model: PathModel) {
    this.#model = model;
  }

  until(end: number): void {
    this.#window.measured(0, 2 * this.#model.delayMs); // the heartbeat's first
    this.#send();
    for (let next = this.#events.shift(); next !== undefined && next.at <= end; next = this.#events.shift()) {
      this.#now = next.at;
      next.run();
    }
  }

  judge(from: number, until: number): Outcome {
    const seen = this.#messages.filter(({ deliveredAt }) => deliveredAt >= from && deliveredAt < until);
    const carried = seen.reduce((sum, { bytes }) => sum + bytes, 0);
    let capacity = 0;
    for (let at = from; at < until; at += 1) capacity += this.#model.rate(at);
    const waits = this.#requests(from, until).sort((a, b) => a - b);
    const part = (of: number) => waits[Math.floor(waits.length * of)] ?? Number.POSITIVE_INFINITY;
    return {
      used: carried / capacity,
      p50: part(0.5),
      p90: part(0.9),
      windowBytes: this.#window.windowBytes,
    };
  }

  /** A request each 3.7 ms: it goes with the next message that leaves, and its answer finds no queue. */
  #requests(from: number, until: number): number[] {
    const waits: number[] = [];
    let index = 0;
    for (let at = from; at < until - 1000; at += 3.7) {
      while ((this.#messages[index]?.sentAt ?? Infinity) < at) index += 1;
      const message = this.#messages[index];
      if (message !== undefined) waits.push(message.deliveredAt + this.#model.delayMs - at);
    }
    return waits;
  }

  #send(): void {
    const { rate, delayMs, stall } = this.#model;
    while (this.#window.room >= 1) {
      const bytes = Math.min(Math.max(this.#window.rate, MESSAGE_MIN_BYTES), MESSAGE_MAX_BYTES);
      this.#window.sent(this.#now, bytes);
      const start = Math.max(this.#now, this.#freeAt) + (stall?.(this.#now) ?? 0);
      this.#freeAt = start + bytes / rate(start);
      const deliveredAt = this.#freeAt + delayMs;
      this.#messages.push({ sentAt: this.#now, deliveredAt, bytes });
      this.#at(deliveredAt, () => this.#receive(bytes));
    }
  }

  #receive(bytes: number): void {
    this.#received += bytes;
    this.#pending += bytes;
    this.#lastAt = this.#now;
    if (this.#pending >= ACK_BYTES) this.#acknowledge();
    else if (this.#timer === undefined) {
      const due = this.#now + ACK_MS;
      this.#timer = due;
      this.#at(due, () => this.#timer === due && this.#acknowledge());
    }
  }

  #acknowledge(): void {
    const [received, held] = [this.#received, this.#now - this.#lastAt];
    this.#pending = 0;
    this.#timer = undefined;
    this.#at(this.#now + this.#model.delayMs, () => {
      this.#window.acked(this.#now, received, held);
      this.#send();
    });
  }

  #at(at: number, run: () => void): void {
    let place = this.#events.length;
    while (place > 0 && (this.#events[place - 1]?.at ?? 0) > at) place -= 1;
    this.#events.splice(place, 0, { at, run });
  }
}
