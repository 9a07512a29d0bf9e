/** Runs each scenario of TUNs in a network and mount namespace of its own, which vanishes with it. Needs root. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { exec } from '../../../src/base/exec.js';
import { SENTENCES } from './scenarios.js';

const INSIDE = fileURLToPath(new URL('inside.ts', import.meta.url));
const CHILD = [process.execPath, '--import', 'tsx', INSIDE];

for (const sentence of SENTENCES)
  test(sentence, async () => {
    await exec(['unshare', '-n', '-m', ...CHILD, sentence], { timeoutMs: 60_000 });
  });

test('without NET_ADMIN openTun says NOT_ROOT', async () => {
  const drop = ['setpriv', '--bounding-set', '-net_admin'];
  const run = exec([...drop, ...CHILD, 'closing ends the interface, and may be repeated'], {
    timeoutMs: 60_000,
  });
  await assert.rejects(run, /NOT_ROOT/);
});
