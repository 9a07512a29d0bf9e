/**
 * Unmounting by the journal, for real: a file is mounted over another inside a mount namespace made for the test,
 * where `undo-mount-inside.ts` runs.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exec } from '../../../src/base/exec.js';

const inside = fileURLToPath(new URL('../../support/undo-mount-inside.ts', import.meta.url));
/** Without root, a user namespace gives the right to mount. */
const asRoot = process.getuid?.() === 0 ? [] : ['--map-root-user'];

test('our mounts are taken off, however many, and nobody else’s', async () => {
  const argv = ['unshare', '--mount', ...asRoot, '--', process.execPath, '--import', 'tsx', inside];
  const { stdout } = await exec(argv, { timeoutMs: 20_000 });
  assert.deepEqual(JSON.parse(stdout), {
    mounted: '# cz: ours\n',
    report: { undone: ['theirs', 'twice', 'once'], failed: [] },
    once: 'before\n',
    twice: 'before\n',
    theirs: 'theirs, mounted\n',
    unmounted: '# cz: ours, but a plain file\n',
  });
});
