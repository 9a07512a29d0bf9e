/**
 * The real sudo, and rights of other users. Needs root, as the daemon does; the user lives in a private copy of /etc.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exec } from '../../src/base/exec.js';
import { commandAs, execAs, readFileAs } from '../../src/base/run-as.js';
import { readKubeconfig } from '../../src/kube/kubeconfig.js';
import { someone } from '../support/invoker.js';

const folder = mkdtempSync(join(tmpdir(), 'cz-as-'));
chmodSync(folder, 0o755);
after(() => rmSync(folder, { recursive: true }));

const nobody = someone({ uid: 65534, gid: 65534, user: 'nobody', env: { PATH: '/usr/bin:/bin' } });

interface Seen {
  readonly uid: number;
  readonly user: string;
  readonly env: Readonly<Record<string, string>>;
  readonly context: string;
  readonly headers: unknown;
}

test('behind Debian’s sudo, with and without use_pty, cz finds the user, their environment, kubeconfig and plugin', async () => {
  const inside = fileURLToPath(new URL('../support/sudo-inside.ts', import.meta.url));
  const node = [process.execPath, '--import', 'tsx', inside];
  const { stdout } = await exec(['unshare', '--mount', '--propagation', 'private', ...node], {
    timeoutMs: 60_000,
  });
  const { folder: home, ways }: { folder: string; ways: Record<string, Seen> } = JSON.parse(stdout);
  const seen = new Map(Object.entries(ways));
  assert.deepEqual([...seen.keys()], ['plain', 'onCommandLine', 'rootShell', 'pty', 'nested']);
  for (const [way, { uid, user, env, context, headers }] of seen) {
    const where = `${way}: `;
    assert.deepEqual([where, uid, user], [where, 64242, 'czjane']);
    assert.equal(where + context, where + (way === 'onCommandLine' ? 'given' : 'shell'));
    const token = `czjane czjane czteam dev ${home}/home /opt/none`;
    assert.deepEqual([where, headers], [where, { authorization: `Bearer ${token}` }]);
    assert.equal(env['ROOTS_SECRET'], undefined);
  }
});

test('a file that this user may not read is KUBECONFIG_UNREADABLE, though root may', async () => {
  const path = join(folder, 'secret');
  writeFileSync(path, 'x');
  chmodSync(path, 0o600);
  await assert.rejects(readKubeconfig(nobody, path), {
    code: 'KUBECONFIG_UNREADABLE',
    message: `kubeconfig: reading "${path}": permission denied`,
    hint: /readable by "nobody"/,
  });
  chmodSync(path, 0o644);
  assert.equal((await readFileAs(nobody, path)).toString(), 'x');
  await assert.rejects(readFileAs(nobody, `${path}-not`), { code: 'READ_MISSING' });
  await assert.rejects(readFileAs(nobody, '/dev/zero'), { code: 'READ_LARGE' });
});

test('as another user: that user’s rights and groups; nothing of their environment steers root’s helper', async () => {
  const env = { PATH: '/usr/bin:/bin', LD_LIBRARY_PATH: '/opt/lib', PWD: '/usr', SECRET: 's' };
  const { stdout } = await execAs({ ...nobody, env }, [
    'sh',
    '-c',
    'id -u; id -G; echo "$LD_LIBRARY_PATH $SECRET"; pwd',
  ]);
  assert.equal(stdout, '65534\n65534\n/opt/lib s\n/usr\n');
  const unsafe = { LD_PRELOAD: '/tmp/x.so', GLIBC_TUNABLES: 'a', LOCPATH: '/tmp', SECRET: 's' };
  const command = commandAs({ ...nobody, env: unsafe }, ['x']);
  assert.deepEqual(command.env, { SECRET: 's' });
  assert.ok(!command.argv.join(' ').includes('SECRET'));
});

test('capabilities and root’s identity are gone for good behind the switch', async () => {
  const { stdout } = await execAs(nobody, ['cat', '/proc/self/status']);
  const of = (name: string) => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(stdout)?.[1];
  assert.deepEqual([of('Uid'), of('Gid')], ['65534\t65534\t65534\t65534', '65534\t65534\t65534\t65534']);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.equal(of(set), '0000000000000000');
});

test('a missing program is EXEC_MISSING behind the switch too, also with variables of the loader', async () => {
  for (const env of [nobody.env, { ...nobody.env, LD_PRELOAD: join(folder, 'nothing.so') }])
    await assert.rejects(execAs({ ...nobody, env }, ['no-such-program']), { code: 'EXEC_MISSING' });
  await assert.rejects(execAs(nobody, ['sh', '-c', 'exit 127']), { code: 'EXEC_FAILED' });
  assert.equal(readFileSync('/proc/self/status', 'utf8').includes('Uid:\t0'), true);
});
