/**
 * The daemon's program. Started by the guard (guard.ts), as root; ends when its connection does. What it leaves
 * undone, the guard undoes from the journal.
 */
import { messageOf } from '../base/errors.js';
import { createLog } from '../base/log.js';
import { openJournal } from '../base/undo.js';
import { VERSION } from '../base/version.js';
import { CONTROL_SOCKET, JOURNAL_PATH, LOG_PATH } from '../control/schema.js';
import { openControlServer } from '../control/server.js';
import { Life } from './life.js';
import { createBoundedWriter } from './log-file.js';
import { announceFailure, announceReady } from './ready.js';

const log = createLog({ write: createBoundedWriter(LOG_PATH) });

async function main(): Promise<void> {
  log.info('starting', { version: VERSION, node: process.version, pid: process.pid });
  const journal = await openJournal(JOURNAL_PATH);
  const former = await journal.undoAll();
  if (former.undone.length > 0) log.warn('undid what a former daemon left', { ...former });
  const life = new Life({ journal, log });
  const { authorize, handlers } = life;
  const server = await openControlServer({ path: CONTROL_SOCKET, authorize, handlers });
  process.on('SIGUSR2', () => life.logCounters());
  announceReady();
  const reason = await Promise.race([life.ended, signalled()]);
  log.info('ending', { reason });
  const left = await life.close();
  if (left.length > 0) log.error('left behind', { left });
  await journal.close();
  await server.close();
}

function signalled(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve(signal));
  });
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    log.error('the daemon cannot go on', { cause: messageOf(error), error });
    announceFailure(error);
    process.exit(1);
  },
);
