/**
 * Waiting for conditions in tests: never a fixed sleep.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** Resolves as soon as `holds` returns true; rejects naming `what` after `timeoutMs`. */
export async function until(what: string, holds: () => boolean, timeoutMs = 5_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await delay(5);
  }
}
