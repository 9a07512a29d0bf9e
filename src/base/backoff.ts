/**
 * Waiting between attempts: jittered exponential back-off, and a sleep that an AbortSignal ends.
 */
import { setTimeout as delay } from 'node:timers/promises';

export interface Backoff {
  /** Returns the next wait in ms: between half and all of a step that doubles up to `maxMs`. */
  next(): number;
  /** Starts again at the first step. */
  reset(): void;
}

/** Returns a back-off from `firstMs` doubling up to `maxMs`, jittered so that many laptops don't return at once. */
export function createBackoff(firstMs: number, maxMs: number, random: () => number = Math.random): Backoff {
  let step = firstMs;
  return {
    next() {
      const wait = step * (0.5 + random() / 2);
      step = Math.min(step * 2, maxMs);
      return Math.round(wait);
    },
    reset() {
      step = firstMs;
    },
  };
}

/** Resolves after `ms`, or earlier when the signal aborts; never rejects. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
}
