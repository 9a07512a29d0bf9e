/**
 * The way to the daemon: to one that runs, or to one that is started for it.
 */
import { pause } from '../base/backoff.js';
import { CzError, hasCode } from '../base/errors.js';
import { openControlClient, type ControlClient } from '../control/client.js';
import { CONTROL_SOCKET } from '../control/schema.js';

/** A daemon that another command starts, or that is being undone, is waited for so long. */
const START_TIMEOUT_MS = 15_000;
const POLL_MS = 25;
/** The daemon ends itself after its last answer; undoing takes less than a second. */
const END_TIMEOUT_MS = 10_000;
/** Answers that need no cluster come at once. */
export const QUICK_CALL_MS = 5000;

/** Returns a connection to the daemon, or undefined when none runs. @throws DAEMON_SILENT */
export async function findDaemon(): Promise<ControlClient | undefined> {
  return openControlClient(CONTROL_SOCKET).catch((error: unknown) => {
    if (hasCode(error, 'NOT_CONNECTED')) return undefined;
    throw error;
  });
}

/**
 * Returns a connection to the daemon, which is started if none runs (as root). Of two commands at the same moment one
 * starts it and the other waits for it. @throws TIMED_OUT, DAEMON_FAILED and the daemon's own codes
 */
export async function ensureDaemon(
  owner: { readonly uid: number; readonly gid: number },
  signal: AbortSignal,
): Promise<ControlClient> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline && !signal.aborted) {
    const running = await findDaemon();
    if (running !== undefined) return running;
    const { startDaemon } = await import('../daemon/guard.js');
    if ((await startDaemon({ owner })) === 'busy') await pause(POLL_MS, signal);
  }
  if (signal.aborted) throw new CzError('INTERRUPTED', 'connect was interrupted');
  throw new CzError('TIMED_OUT', 'another daemon holds the lock and does not answer', {
    hint: 'sudo cz doctor --fix',
  });
}

/** Waits until the daemon has ended its side of the connection; what it had to undo is undone then. */
export async function awaitEnd(client: ControlClient): Promise<void> {
  const done = new AbortController();
  await Promise.race([client.closed, pause(END_TIMEOUT_MS, done.signal)]);
  done.abort();
  client.close();
}
