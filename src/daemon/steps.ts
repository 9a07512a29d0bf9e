/**
 * The steps of a connect: each is named, told to whoever waits, and undone in reverse order when a later one
 * fails or when all is over. A failed step's error says which step it was.
 */
import { CzError, codeOf, messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { ProgressEvent } from '../control/schema.js';

export type Progress = (event: ProgressEvent) => void;
type Undo = () => void | Promise<void>;

export interface Steps {
  /** Runs one step; `work` may register undos as it goes. @throws the step's error, its message led by `text` */
  run<T>(step: string, text: string, work: (undo: (action: Undo) => void) => Promise<T>): Promise<T>;
  /** Undoes everything, newest first; returns what could not be undone, a line each. Idempotent. */
  undoAll(): Promise<string[]>;
}

/** Returns an empty sequence of steps; none begins after the signal. */
export function createSteps(progress: Progress, log: Log, signal: AbortSignal): Steps {
  const undos: { readonly step: string; readonly action: Undo }[] = [];
  return {
    async run(step, text, work) {
      signal.throwIfAborted();
      const started = performance.now();
      progress({ kind: 'started', step, text });
      try {
        const result = await work((action) => undos.push({ step, action }));
        const tookMs = performance.now() - started;
        log.info('step done', { step, tookMs: Math.round(tookMs) });
        progress({ kind: 'done', step, text, tookMs });
        return result;
      } catch (error) {
        log.warn('step failed', { step, error });
        throw named(text, error);
      }
    },
    async undoAll() {
      const failed: string[] = [];
      for (let entry = undos.pop(); entry !== undefined; entry = undos.pop()) {
        try {
          await entry.action();
        } catch (error) {
          log.error('undo failed', { step: entry.step, error });
          failed.push(`${entry.step}: ${messageOf(error)}`);
        }
      }
      return failed;
    },
  };
}

function named(text: string, error: unknown): CzError {
  const hint = error instanceof CzError ? error.hint : undefined;
  return new CzError(codeOf(error) ?? 'FAILED', `${text}: ${messageOf(error)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
