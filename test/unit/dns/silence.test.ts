import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CzError } from '../../../src/base/errors.js';
import { createImpatientAsk } from '../../../src/dns/silence.js';

function setUp() {
  const seen = { asked: 0, silent: true, nowMs: 0 };
  const upstream = {
    async ask() {
      seen.asked++;
      if (seen.silent) throw new CzError('DNS_NO_ANSWER', 'silence');
      return Buffer.alloc(0);
    },
  };
  const ask = createImpatientAsk(upstream, () => seen.nowMs);
  return {
    seen,
    ask: () =>
      ask('key').then(
        () => 'answer',
        () => 'failure',
      ),
  };
}

test('three questions in vain are enough for a while, then the server is asked again', async () => {
  const { seen, ask } = setUp();
  for (let index = 0; index < 10; index++) assert.equal(await ask(), 'failure');
  assert.equal(seen.asked, 3);
  seen.silent = false;
  seen.nowMs = 2000;
  assert.equal(await ask(), 'answer');
});

test('one slow name among others that are answered changes nothing', async () => {
  const { seen, ask } = setUp();
  for (let index = 0; index < 10; index++) {
    seen.silent = index % 2 === 0;
    await ask();
  }
  assert.equal(seen.asked, 10);
});
