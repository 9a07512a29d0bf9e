/**
 * Who called, from process tables as sudo makes them. The real sudo is asked in test/wire/kube-sudo.test.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { findInvoker, parseEnviron, parsePasswd, type ProcessTable } from '../../../src/base/invoker.js';

interface Row {
  readonly pid: number;
  readonly uid: number;
  readonly sudo?: boolean;
  readonly env?: Record<string, string>;
}

/** A chain of processes, nearest first. */
function chain(...rows: readonly Row[]): ProcessTable {
  const at = (pid: number) => rows.findIndex((row) => row.pid === pid);
  return {
    parentOf: (pid) => {
      const row = rows[at(pid)];
      return row === undefined ? undefined : { ppid: rows[at(pid) + 1]?.pid ?? 0, uid: row.uid };
    },
    isSudo: (pid) => rows[at(pid)]?.sudo === true,
    environOf: (pid) => rows[at(pid)]?.env,
  };
}

const SUDO = {
  SUDO_UID: '4242',
  SUDO_GID: '4343',
  SUDO_USER: 'jane',
  PATH: '/usr/sbin',
  HOME: '/root',
  USER: 'root',
};
const JANE = {
  HOME: '/home/jane',
  USER: 'jane',
  PATH: '/home/jane/bin',
  KUBECONFIG: '/k',
  AWS_PROFILE: 'dev',
};

const find = (processes: ProcessTable, env: Record<string, string> = SUDO) =>
  findInvoker({ env, uid: 0, gid: 0, pid: 10, cwd: '/work', processes });

test('behind sudo: the user, with the environment of the sudo process', async () => {
  const found = await find(
    chain({ pid: 10, uid: 0 }, { pid: 9, uid: 0, sudo: true, env: JANE }, { pid: 8, uid: 4242 }),
  );
  assert.deepEqual(found, {
    uid: 4242,
    gid: 4343,
    user: 'jane',
    home: '/home/jane',
    env: { ...JANE, PWD: '/work' },
  });
});

test('with use_pty a monitor stands between: sudo itself counts, also when cz called it', async () => {
  const rows = [
    { pid: 9, uid: 0, sudo: true },
    { pid: 8, uid: 0, sudo: true, env: JANE },
    { pid: 7, uid: 4242 },
  ];
  assert.equal((await find(chain({ pid: 10, uid: 0 }, ...rows))).env['KUBECONFIG'], '/k');
});

test('of several sudos the outermost that this user called counts, never another user’s', async () => {
  const inner = { pid: 9, uid: 0, sudo: true, env: { ...JANE, KUBECONFIG: '/inner' } };
  const outer = { pid: 7, uid: 0, sudo: true, env: { ...JANE, KUBECONFIG: '/outer' } };
  const processes = (uid: number) =>
    chain({ pid: 10, uid: 0 }, inner, { pid: 8, uid: 4242 }, outer, { pid: 6, uid });
  assert.equal((await find(processes(4242))).env['KUBECONFIG'], '/outer');
  assert.equal((await find(processes(1))).env['KUBECONFIG'], '/inner');
});

test('what was given on sudo’s command line counts; what sudo sets does not', async () => {
  const processes = chain(
    { pid: 10, uid: 0 },
    { pid: 9, uid: 0, sudo: true, env: JANE },
    { pid: 8, uid: 4242 },
  );
  const { env } = await find(processes, { ...SUDO, KUBECONFIG: '/given' });
  assert.equal(env['KUBECONFIG'], '/given');
  assert.equal(env['PATH'], '/home/jane/bin');
  assert.equal(env['SUDO_UID'], undefined);
});

test('behind a root shell only its KUBECONFIG is added: the rest is root’s', async () => {
  const rows = [
    { pid: 9, uid: 0 },
    { pid: 8, uid: 0, sudo: true, env: JANE },
    { pid: 7, uid: 4242 },
  ];
  const own = { ...SUDO, KUBECONFIG: '/given', ROOTS_SECRET: 'x' };
  const { env } = await find(chain({ pid: 10, uid: 0 }, ...rows), own);
  assert.deepEqual([env['KUBECONFIG'], env['ROOTS_SECRET']], ['/given', undefined]);
});

test('a sudo that cannot be found leaves the user with an environment that works', async () => {
  const { env, home, user } = await find(chain({ pid: 10, uid: 0 }, { pid: 1, uid: 0 }));
  assert.deepEqual([env['PATH'], home, user, env['HOME']], ['/usr/sbin', '/', '4242', '/']);
});

test('without sudo, and for a SUDO_UID that is none, it is this process’s user', async () => {
  const none = chain();
  assert.equal((await findInvoker({ env: { HOME: '/h' }, uid: 1, gid: 1, processes: none })).home, '/h');
  assert.equal((await findInvoker({ env: SUDO, uid: 1, gid: 1, processes: none })).uid, 1);
  for (const SUDO_UID of ['', '0', '-1', '4x', '99999999999'])
    assert.equal((await find(none, { ...SUDO, SUDO_UID })).uid, 0);
});

test('an environment block is read as getenv would: the first of a name, values with = and newlines whole', () => {
  assert.deepEqual(parseEnviron('A=1\0B=x=y\nz\0A=2\0=odd\0none\0\0'), { A: '1', B: 'x=y\nz' });
  const names = fc.stringMatching(/^[A-Z_]{1,8}$/);
  const values = fc.string().map((value) => value.replaceAll('\0', ''));
  fc.assert(
    fc.property(fc.dictionary(names, values), (env) => {
      const block = Object.entries(env).map(([name, value]) => `${name}=${value}\0`);
      assert.deepEqual(parseEnviron(block.join('')), { ...env });
    }),
  );
});

test('accounts come from passwd lines', () => {
  const text = 'root:x:0:0:root:/root:/bin/bash\njane:x:1000:1000:Jane,,,:/home/jane:/bin/sh\nbad:x:7\n';
  assert.deepEqual(parsePasswd(text, 1000), { user: 'jane', home: '/home/jane' });
  assert.equal(parsePasswd(text, 7), undefined);
  assert.equal(parsePasswd('', 1), undefined);
});
