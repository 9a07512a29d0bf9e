/**
 * A stand-in for the daemon, plain JavaScript so that Node alone runs it: puts an undo into the journal, makes the
 * change that it belongs to, says that it is ready, and ends cleanly at SIGTERM. What it does else is in its name's
 * suffix: `-silent` says nothing and ends, `-refuses` says an error.
 */
import { closeSync, rmSync, writeFileSync, writeSync } from 'node:fs';

const CHANGE = '/run/change';
const way = /-(silent|refuses)\.mjs$/.exec(process.argv[1])?.[1];

if (way === 'silent') process.exit(1);
if (way === 'refuses') {
  writeSync(3, JSON.stringify({ code: 'ADDON_MISSING', message: 'no addon', hint: 'build it' }));
  process.exit(1);
}
const action = { kind: 'remove', path: CHANGE };
writeFileSync('/run/cz/journal', `${JSON.stringify({ id: 1, step: 'change', action })}\n`, { mode: 0o600 });
writeFileSync(CHANGE, '');
writeFileSync('/run/cz/cz.sock', '');
writeFileSync('/run/pid', `${process.pid} ${process.ppid}`);
console.error(`environment ${JSON.stringify(process.env)}`);
process.on('SIGTERM', () => {
  for (const file of [CHANGE, '/run/cz/journal', '/run/cz/cz.sock']) rmSync(file);
  writeFileSync('/run/clean', '');
  process.exit(0);
});
setInterval(() => undefined, 1000);
writeSync(3, 'ready');
closeSync(3);
