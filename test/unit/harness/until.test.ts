/** Waiting for a condition: gives the value, or says what did not come and why. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../../cluster/harness/until.js';

test('the first value that is there ends the waiting', async () => {
  let looks = 0;
  const value = await until('a third look', () => (++looks === 3 ? looks : undefined), {
    timeoutMs: 5000,
    everyMs: 1,
  });
  assert.equal(value, 3);
});

test('a deadline that passes names what was waited for and the last error', async () => {
  const never = () => {
    throw new Error('connection refused');
  };
  await assert.rejects(until('an answer', never, { timeoutMs: 20, everyMs: 1 }), {
    code: 'TIMED_OUT',
    message: 'an answer: not within 0.02 s: connection refused',
  });
});
