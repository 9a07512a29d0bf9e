/**
 * Starts the guard with a stand-in for the daemon: `node guarded.ts DAEMON UNDO UID`. Prints what `startDaemon`
 * returned, or the code it threw.
 */
import { codeOf, messageOf } from '../../src/base/errors.js';
import { startDaemon } from '../../src/daemon/guard.js';

const [daemon = '', undo = '', id = '0'] = process.argv.slice(2);
try {
  console.log(await startDaemon({ owner: { uid: Number(id), gid: Number(id) }, daemon, undo }));
} catch (error) {
  console.log(`${codeOf(error)}: ${messageOf(error)}`);
}
