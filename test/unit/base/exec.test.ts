import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode } from '../../../src/base/errors.js';
import { exec } from '../../../src/base/exec.js';

test('a program gets its input and arguments as they are, no shell between', async () => {
  const { stdout } = await exec(['cat', '-', '/dev/null'], { input: '$(id) "; é' });
  assert.equal(stdout, '$(id) "; é');
  assert.equal((await exec(['printf', '%s', '$HOME;'])).stdout, '$HOME;');
});

test('a failed command says its arguments, its exit code and what it printed', async () => {
  await assert.rejects(exec(['sh', '-c', 'echo no luck >&2; exit 3']), (error: Error) => {
    assert.ok(hasCode(error, 'EXEC_FAILED'));
    assert.match(error.message, /exit 3.*exited with 3: no luck/s);
    return true;
  });
});

test('an exit code that was announced is no failure', async () => {
  assert.equal((await exec(['sh', '-c', 'exit 3'], { okCodes: [0, 3] })).exitCode, 3);
});

test('a program that does not exist is told at once and keeps no timer', async () => {
  const started = performance.now();
  await assert.rejects(exec(['/no/such/program']), (error) => hasCode(error, 'EXEC_MISSING'));
  assert.ok(performance.now() - started < 2000);
  assert.deepEqual(
    process.getActiveResourcesInfo().filter((name) => name === 'Timeout'),
    [],
  );
});

test('the time limit holds also where a grandchild keeps the output open', async () => {
  const started = performance.now();
  await assert.rejects(exec(['sh', '-c', 'sleep 20 & sleep 20'], { timeoutMs: 100 }), (error) =>
    hasCode(error, 'TIMED_OUT'),
  );
  assert.ok(performance.now() - started < 5000);
});

test('a signal that aborts ends the program', async () => {
  const abort = new AbortController();
  const running = exec(['sleep', '20'], { signal: abort.signal });
  abort.abort();
  await assert.rejects(running, (error) => hasCode(error, 'INTERRUPTED'));
});
