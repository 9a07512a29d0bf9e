/** Runs the scenarios of TUNs in a network and mount namespace of their own, which vanishes with them. Needs root. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { exec } from '../../../src/base/exec.js';
import { INSIDE, SENTENCES, outcomes, type Outcomes } from './scenarios.js';

const CHILD = [process.execPath, '--import', 'tsx', INSIDE];
const TIMEOUT = { timeoutMs: 120_000 };

let results: Outcomes = new Map();

before(async () => {
  const { stdout } = await exec(['unshare', '-n', '-m', ...CHILD, ...SENTENCES], TIMEOUT);
  results = outcomes(stdout);
});

for (const sentence of SENTENCES) test(sentence, () => assert.equal(results.get(sentence), null));

test('without NET_ADMIN openTun says NOT_ROOT', async () => {
  const drop = ['setpriv', '--bounding-set', '-net_admin'];
  const sentence = 'closing ends the interface, and may be repeated';
  const { stdout } = await exec([...drop, ...CHILD, sentence], TIMEOUT);
  assert.match(outcomes(stdout).get(sentence) ?? '', /NOT_ROOT/);
});
