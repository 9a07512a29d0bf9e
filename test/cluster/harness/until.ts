/** Waiting for a condition, with a deadline. Never a bare sleep: what is waited for has a name, and its absence is an error. */
import { pause } from '../../../src/base/backoff.js';
import { CzError, messageOf } from '../../../src/base/errors.js';

export interface UntilOptions {
  readonly timeoutMs: number;
  /** Time between two looks; default 100. */
  readonly everyMs?: number;
}

/**
 * Returns the first value of `look` that is neither undefined nor false. What `look` throws counts as "not yet".
 * @throws TIMED_OUT with `what` and the last thing that `look` threw
 */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  { timeoutMs, everyMs = 100 }: UntilOptions,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw timedOut(what, timeoutMs, last);
    await pause(everyMs);
  }
}

function timedOut(what: string, timeoutMs: number, last: unknown): CzError {
  const why = last === undefined ? '' : `: ${messageOf(last)}`;
  return new CzError('TIMED_OUT', `${what}: not within ${timeoutMs / 1000} s${why}`, { cause: last });
}
