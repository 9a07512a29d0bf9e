/**
 * How a starting daemon tells its starter that it listens, or why it cannot: one word or one JSON object on an
 * inherited descriptor (guard.ts), which is closed then.
 */
import { closeSync, fstatSync, writeSync } from 'node:fs';
import { CzError, codeOf, messageOf } from '../base/errors.js';

/** The descriptor, handed down by the guard. */
export const READY_FD = 3;

/** Tells the starter that the daemon listens. Does nothing the second time, or without a starter. */
export function announceReady(): void {
  announce('ready');
}

/** Tells the starter why the daemon does not come up: its code, message and hint become the command's. */
export function announceFailure(error: unknown): void {
  const hint = error instanceof CzError ? error.hint : undefined;
  announce(JSON.stringify({ code: codeOf(error) ?? 'DAEMON_FAILED', message: messageOf(error), hint }));
}

let announced = false;

function announce(word: string): void {
  if (announced) return;
  announced = true;
  try {
    if (!fstatSync(READY_FD).isSocket()) return; // started by hand: the descriptor is something else's
    writeSync(READY_FD, word);
    closeSync(READY_FD);
  } catch (error) {
    if (codeOf(error) === undefined) throw error; // a starter that is gone needs no word
  }
}
