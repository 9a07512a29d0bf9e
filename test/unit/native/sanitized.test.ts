/**
 * The whole addon under AddressSanitizer and UndefinedBehaviorSanitizer, in a copy of the files that it takes: some of
 * the TUN's scenarios, those with hostile input above all. Needs root.
 */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exec } from '../../../src/base/exec.js';
import { outcomes } from '../tun/scenarios.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const FLAGS = [
  '-std=gnu11',
  '-O1',
  '-g',
  '-fPIC',
  '-shared',
  '-pthread',
  '-fno-math-errno',
  '-fvisibility=hidden',
];
const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
const TIMEOUT = { timeoutMs: 60_000 };

const CHOSEN = [
  'datagrams pass, and those that are larger than the MTU pass as fragments',
  'what is spoofed, opens a connection or is malformed is dropped and counted',
  'random records harm nothing',
  'without a session nothing passes, and a session that ends leaves nothing waiting',
  'what waits is bounded, and its memory is given back',
  'an arena without room for the largest record is refused',
];

let folder = '';
let preload = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cz-sanitized-'));
  for (const part of ['src/base', 'src/tun', 'test/unit/tun', 'native'])
    await cp(join(ROOT, part), join(folder, part), { recursive: true });
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  await mkdir(dirname(output()), { recursive: true });
  const headers = join(
    dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json')),
    'include',
  );
  const sources = (await readdir(join(folder, 'native'))).filter((name) => name.endsWith('.c'));
  const command = ['cc', ...FLAGS, ...SANITIZERS, `-I${headers}`, ...sources, '-o', output(), '-lm'];
  await exec(command, { ...TIMEOUT, cwd: join(folder, 'native') });
  preload = (await Promise.all(['libasan.so', 'libubsan.so'].map(libraryPath))).join(' ');
});

after(() => rm(folder, { recursive: true, force: true }));

function output(): string {
  return join(folder, 'native/build', `linux-${process.arch}`, 'cz.node');
}

async function libraryPath(name: string): Promise<string> {
  return (await exec(['cc', `-print-file-name=${name}`])).stdout.trim();
}

test('the sanitizers find nothing in a transfer, in hostile packets, and in sessions that end', async () => {
  const sanitizers = [`LD_PRELOAD=${preload}`, 'ASAN_OPTIONS=detect_leaks=0']; // Node itself never frees all
  const inside = join(folder, 'test/unit/tun/inside.ts');
  const node = [process.execPath, '--import', import.meta.resolve('tsx'), inside, ...CHOSEN];
  const command = ['unshare', '-n', '-m', 'env', ...sanitizers, ...node];
  const { stdout } = await exec(command, { ...TIMEOUT, cwd: folder }); // a finding ends it with another code than 0
  for (const sentence of CHOSEN) assert.equal(outcomes(stdout).get(sentence), null);
});

test('the sanitizers are really there: without their libraries the addon does not load', async () => {
  const load = `require(${JSON.stringify(output())})`;
  await assert.rejects(exec([process.execPath, '-e', load]), /ASan runtime|asan/);
});
