/**
 * The guard for real, in namespaces of the test's own: a stand-in daemon is started, ended and killed, and what the
 * guard does then is seen in the files.
 */
import assert from 'node:assert/strict';
import { copyFileSync, chmodSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildBundles, type Bundles } from '../support/bundles.js';
import { eventually, openPrivateLaptop, type PrivateLaptop } from '../support/private-laptop.js';

const support = fileURLToPath(new URL('../support/', import.meta.url));
let bundles: Bundles;
let laptop: PrivateLaptop;

before(async () => {
  bundles = await buildBundles();
  for (const suffix of ['', '-silent', '-refuses'])
    copyFileSync(join(support, 'stand-in-daemon.mjs'), join(bundles.folder, `daemon${suffix}.mjs`));
  chmodSync(bundles.folder, 0o755);
});
after(() => bundles.remove());
beforeEach(async () => {
  laptop = await openPrivateLaptop();
});
afterEach(() => laptop.close());

async function guard(suffix = '', uid = 0): Promise<string> {
  const argv = [process.execPath, '--import', 'tsx', join(support, 'guarded.ts')];
  const daemon = join(bundles.folder, `daemon${suffix}.mjs`);
  const { stdout, stderr } = await laptop.run([...argv, daemon, bundles.undo, String(uid)]);
  return stdout.trim() || stderr;
}
const exists = async (path: string) => (await laptop.run(['test', '-e', path])).exitCode === 0;
const read = async (path: string) => (await laptop.run(['cat', path])).stdout;
const pids = async () => (await read('/run/pid')).split(' ').map(Number);
const isGone = async (pid: number) => (await laptop.run(['kill', '-0', String(pid)])).exitCode !== 0;

test('the daemon is ready when the start returns, and nothing of the caller is kept', async () => {
  assert.equal(await guard(), 'ready');
  assert.ok(await exists('/run/change'));
  const [pid = 0, shell = 0] = await pids();
  for (const process of [pid, shell]) {
    const { stdout } = await laptop.run([
      'sh',
      '-c',
      'ls -l /proc/"$1"/fd | sed -n "s/.* \\([0-9]* -> .*\\)/\\1/p"',
      'sh',
      String(process),
    ]);
    const open = stdout.split('\n').filter((line) => /^[0-9] ->/.test(line));
    assert.deepEqual(open.slice(0, 3), [
      '0 -> /dev/null',
      '1 -> /run/cz/daemon.log',
      '2 -> /run/cz/daemon.log',
    ]);
    assert.ok(!open.some((line) => line.startsWith('3 -> socket')), open.join());
  }
  const session = await laptop.run(['ps', '-o', 'sid=,tty=,args=', '-p', String(shell)]);
  assert.match(
    session.stdout,
    new RegExp(`^\\s*${shell} \\?\\s+/bin/sh -c`),
    'a session of its own, without a terminal',
  );
});

test('the environment is the machine’s, not the caller’s', async () => {
  await guard();
  const line = (await read('/run/cz/daemon.log')).split('\n').find((text) => text.startsWith('environment'));
  const names = Object.keys(JSON.parse(line?.slice('environment '.length) ?? '{}'));
  const own = names.filter((name) => !['PWD', 'OLDPWD', '_'].includes(name)); // the shell's
  assert.deepEqual(own.sort(), ['HOME', 'LANG', 'PATH']);
});

test('a killed daemon is undone within a second, and another can start then', async () => {
  await guard();
  const [pid = 0, shell = 0] = await pids();
  await laptop.run(['kill', '-9', String(pid)]);
  const killed = performance.now();
  await eventually('the change is undone', async () => !(await exists('/run/change')));
  assert.ok(performance.now() - killed < 1000, `${performance.now() - killed} ms`);
  await eventually('the guard ends', () => isGone(shell));
  for (const file of ['journal', 'cz.sock']) assert.ok(!(await exists(`/run/cz/${file}`)), file);
  assert.match(await read('/run/cz/daemon.log'), /"undone":\["change"\]/);
  assert.equal(await guard(), 'ready');
});

for (const signal of ['TERM', 'INT', 'HUP']) {
  test(`SIG${signal} to the guard ends the daemon cleanly`, async () => {
    await guard();
    const [pid = 0, shell = 0] = await pids();
    await laptop.run(['kill', `-${signal}`, String(shell)]);
    await eventually('the daemon ends', () => isGone(pid));
    await eventually('the guard ends', () => isGone(shell));
    assert.ok(await exists('/run/clean'), 'by itself');
    assert.doesNotMatch(await read('/run/cz/daemon.log'), /undid/);
  });
}

test('SIGTERM to the whole session ends all of it cleanly', async () => {
  await guard();
  const [, shell = 0] = await pids();
  await laptop.run(['kill', '-TERM', '--', `-${shell}`]);
  await eventually('the guard ends', () => isGone(shell));
  assert.ok(await exists('/run/clean'));
});

test('a second start while one runs is told so, and its log is left alone', async () => {
  await guard();
  const log = await read('/run/cz/daemon.log');
  assert.equal(await guard(), 'busy');
  assert.equal(await read('/run/cz/daemon.log'), log);
  assert.ok(!(await exists('/run/cz/daemon.log.1')));
});

test('of many at the same moment one starts', async () => {
  const said = await Promise.all(Array.from({ length: 4 }, () => guard()));
  assert.deepEqual(said.sort(), ['busy', 'busy', 'busy', 'ready']);
});

test('the lock outlives a killed guard as long as the daemon lives', async () => {
  await guard();
  const [pid = 0, shell = 0] = await pids();
  await laptop.run(['kill', '-9', String(shell)]);
  assert.equal(await guard(), 'busy');
  await laptop.run(['kill', '-9', String(pid)]);
  await eventually('both are gone', () => isGone(pid));
  assert.ok(await exists('/run/change'), 'nobody undid it');
  assert.equal(await guard(), 'ready');
});

test('the log belongs to the user who connects; the one before is kept', async () => {
  await guard('', 65_534);
  const [, shell = 0] = await pids();
  await laptop.run(['kill', '-TERM', String(shell)]);
  await eventually('the guard ends', () => isGone(shell));
  await guard('', 1234);
  const { stdout } = await laptop.run([
    'stat',
    '-c',
    '%n %u:%g %a',
    '/run/cz/daemon.log',
    '/run/cz/daemon.log.1',
    '/run/cz',
  ]);
  assert.equal(
    stdout,
    '/run/cz/daemon.log 1234:1234 600\n/run/cz/daemon.log.1 65534:65534 600\n/run/cz 0:0 755\n',
  );
});

test('a daemon that ends at once, or says why it cannot start, is an error of the start', async () => {
  assert.equal(await guard('-silent'), 'DAEMON_FAILED: the daemon ended while starting');
  assert.equal(await guard('-refuses'), 'ADDON_MISSING: no addon');
});

test('a /run/cz that others can write is refused', async () => {
  await laptop.run(['mkdir', '-m', '777', '/run/cz']);
  assert.match(await guard(), /^RUN_DIR_UNSAFE/);
});
