/**
 * The C parts that need no kernel (packet checks, framing, flow queues), as a program of their own under
 * AddressSanitizer and UndefinedBehaviorSanitizer: cases by hand, then random ones from a seed that is printed.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exec } from '../../../src/base/exec.js';

const NATIVE = fileURLToPath(new URL('../../../native/', import.meta.url));
const PURE = ['packet.c', 'virtio.c', 'filter.c', 'records.c', 'pool.c', 'queue.c', 'siphash.c'];
const FLAGS = ['-std=gnu11', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-fno-math-errno'];
const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
const ROUNDS = 40_000;

let folder = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cz-native-'));
  const tests = (await readdir(join(NATIVE, 'test'))).filter((name) => name.endsWith('.c'));
  const sources = [
    ...PURE.map((name) => join(NATIVE, name)),
    ...tests.map((name) => join(NATIVE, 'test', name)),
  ];
  const command = ['cc', ...FLAGS, ...SANITIZERS, ...sources, '-lm', '-o', join(folder, 'check')];
  await exec(command, { timeoutMs: 60_000 });
});

after(() => rm(folder, { recursive: true, force: true }));

async function check(seed: number): Promise<string> {
  const { stdout } = await exec([join(folder, 'check'), String(seed), String(ROUNDS)], { timeoutMs: 60_000 });
  return stdout;
}

test('the same cases hold from a fixed seed', async () => {
  assert.match(await check(1), /\b0 failures\n$/);
});

test('the same cases hold from a seed of this run', async (context) => {
  const stdout = await check(Date.now() % 2 ** 31);
  context.diagnostic(stdout.split('\n')[0] ?? '');
  assert.match(stdout, /\b0 failures\n$/);
});
