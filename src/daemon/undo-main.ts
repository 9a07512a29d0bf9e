/**
 * What the guard runs when the daemon is gone: `node undo.js JOURNAL SOCKET`. Replays the journal and removes the
 * socket that nobody listens on any more. Small on purpose: names outside the cluster wait for it.
 */
import { rm } from 'node:fs/promises';
import { messageOf } from '../base/errors.js';
import { createLog } from '../base/log.js';
import { replayJournal } from '../base/undo.js';

const log = createLog({}, { program: 'undo' });
const [journal, socket] = process.argv.slice(2);

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined); // to the end

try {
  if (journal !== undefined) {
    const started = performance.now();
    const { undone, failed } = await replayJournal(journal);
    const tookMs = Math.round(performance.now() - started);
    log[failed.length === 0 ? 'info' : 'error']('undid what the daemon left', { undone, failed, tookMs });
    if (failed.length > 0) process.exitCode = 1;
  }
} catch (error) {
  log.error(`undoing failed: ${messageOf(error)}`, { error });
  process.exitCode = 1;
}
if (socket !== undefined) await rm(socket, { force: true });
