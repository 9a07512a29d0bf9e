/**
 * Debian's sudo for real, on the tests' own cluster: a user whose kubeconfig is named in their shell alone, whose
 * credential plugin is on their PATH alone, and whose node and cz lie under their home.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Outcome } from '../../support/manager.js';
import { openCluster } from '../harness/cluster.js';
import { until } from '../harness/until.js';
import {
  PROGRAM,
  assertAsBefore,
  cz,
  disconnected,
  ensureManager,
  laptopState,
  status,
  succeeded,
  testLaptop,
} from './support.js';

const USER = {
  name: 'czjane',
  uid: 64242,
  gid: 64243,
  home: '/home/czjane',
  password: 'not-a-secret',
} as const;
const AS_USER = { uid: USER.uid, gid: USER.gid };
const NODE = `${USER.home}/.node/bin/node`;
const CZ = `${USER.home}/cz/dist/cz.js`;
const ENV = {
  HOME: USER.home,
  USER: USER.name,
  PATH: `${USER.home}/bin:/usr/bin:/bin`,
  KUBECONFIG: `${USER.home}/shell-only`,
  AWS_PROFILE: 'dev',
  TERM: 'dumb',
  SHELL: '/bin/sh',
};
const ANY_CODE = Array.from({ length: 256 }, (_, code) => code);
const SOON = { timeoutMs: 20_000, everyMs: 20 };

const cluster = await openCluster();
const laptop = await testLaptop(cluster, 'net-sudo');

describe('a user with sudo', { skip: cluster.own ? false : 'needs the tests’ own cluster' }, () => {
  before(
    async () => {
      await ensureManager(cluster);
      await makeUser();
      await givePrograms();
      await giveKubeconfig();
    },
    { timeout: 200_000 },
  );
  afterEach(() => disconnected(laptop));
  after(() => root(`umount ${NODE}`));

  test('without a terminal: exit 5, nothing touched, and the hint works as it is pasted', async () => {
    await mayWithoutPassword();
    const before = await laptopState(laptop);
    const refused = await asUser([NODE, CZ, 'connect', '-n', 'shop']);
    assert.equal(refused.exitCode, 5, refused.stderr);
    assert.match(refused.stderr, /^cz: error: connect needs root$/m);
    const hint = /^cz: hint: (.*)$/m.exec(refused.stderr)?.[1] ?? '';
    assert.equal(hint, `sudo -- ${NODE} ${CZ} connect -n shop`);
    await assertAsBefore(laptop, before);
    succeeded(await asUser(['sh', '-c', hint]));
    assert.match((await asUser(['curl', '-sS', '--max-time', '10', 'http://web.shop'])).stdout, /^web-/);
    assert.match(await seenByPlugin(), new RegExp(`^${USER.uid} ${USER.gid} dev ${USER.home}$`, 'm'));
  });

  test('on a terminal cz calls sudo itself, which asks for the password', async () => {
    await mayWithPassword();
    const said = await onTerminal([NODE, CZ, 'connect', '-n', 'shop']);
    assert.match(said, /connected to "/);
    const now = await status(laptop, { as: AS_USER, env: ENV });
    assert.deepEqual([now.state, now.user], ['connected', USER.name]);
  });

  test('every other command needs no root; other users are refused, root is not', async () => {
    await mayWithoutPassword();
    succeeded(await asUser(['sudo', '--', NODE, CZ, 'connect', '-n', 'shop']));
    assert.equal((await status(laptop)).user, USER.name);
    succeeded(await asUser([NODE, CZ, 'status']));
    succeeded(await asUser([NODE, CZ, 'doctor']));
    succeeded(await asUser([NODE, CZ, 'logs', '--daemon']));
    assert.equal((await cz(laptop, ['status'], { as: { uid: 4242, gid: 4242 } })).exitCode, 5);
    assert.match(succeeded(await asUser([NODE, CZ, 'disconnect'])).stderr, /disconnected from "/);
    assert.equal((await status(laptop)).state, 'disconnected');
  });

  test('connect -- CMD: the command is the user’s, with their environment, folder and exit code', async () => {
    await mayWithoutPassword();
    const line =
      'id -u; id -g; pwd; echo "$KUBECONFIG $AWS_PROFILE $PATH"; curl -sS http://web.shop; exit 42';
    const argv = ['sudo', '--', NODE, CZ, 'connect', '-n', 'shop', '--', 'sh', '-c', line];
    const { exitCode, stdout, stderr } = await asUser(argv);
    assert.equal(exitCode, 42, stderr);
    const [uid, gid, folder, env, pod] = stdout.trim().split('\n');
    assert.deepEqual([uid, gid, folder], [String(USER.uid), String(USER.gid), USER.home]);
    assert.equal(env, `${ENV.KUBECONFIG} dev ${ENV.PATH}`);
    assert.match(pod ?? '', /^web-/);
    assert.equal((await status(laptop)).state, 'disconnected');
  });

  test('typed on a terminal, connect -- CMD runs the command outside of sudo', async () => {
    await mayWithPassword();
    const said = await onTerminal([NODE, CZ, 'connect', '-n', 'shop', '--', 'id', '-u']);
    assert.match(said, new RegExp(`^${USER.uid}\\r?$`, 'm'));
    assert.equal((await status(laptop)).state, 'disconnected');
  });

  test('a kubeconfig on sudo’s own command line goes before the shell’s', async () => {
    await mayWithoutPassword();
    const { exitCode, stderr } = await asUser(['sudo', 'KUBECONFIG=/nonexistent', NODE, CZ, 'connect']);
    assert.equal(exitCode, 4, stderr);
    assert.match(stderr, /"\/nonexistent"/);
    succeeded(await asUser(['sudo', `KUBECONFIG=${ENV.KUBECONFIG}`, NODE, CZ, 'connect', '-n', 'shop']));
  });
});

async function root(line: string, input?: string): Promise<void> {
  await laptop.run(['sh', '-ec', line], input === undefined ? {} : { input });
}

async function asUser(argv: readonly string[]): Promise<Outcome> {
  const options = { as: AS_USER, env: ENV, cwd: USER.home, okCodes: ANY_CODE, timeoutMs: 30_000 };
  return laptop.run(argv, options);
}

/** Runs it on a terminal of its own and types the password when sudo asks. Returns what the terminal showed. */
async function onTerminal(argv: readonly string[]): Promise<string> {
  const child = laptop.spawn(['script', '-qec', argv.join(' '), '/dev/null'], {
    as: AS_USER,
    env: ENV,
    cwd: USER.home,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  let said = '';
  child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until('sudo’s question', () => /password for czjane/i.test(said), SOON);
  child.stdin?.write(`${USER.password}\n`);
  const [code]: unknown[] = await ended;
  assert.equal(code, 0, said);
  return said;
}

async function makeUser(): Promise<void> {
  const { name, uid, gid, home } = USER;
  await root(`
    echo '${name}:x:${uid}:${gid}::${home}:/bin/sh' >> /etc/passwd
    echo '${name}:x:${gid}:' >> /etc/group
    echo '${name}:*:19000:0:99999:7:::' >> /etc/shadow
    mkdir -p ${home}/bin ${home}/.node/bin ${home}/cz/native && chown -R ${uid}:${gid} ${home}`);
  await root('chpasswd', `${name}:${USER.password}\n`);
}

async function mayWithPassword(): Promise<void> {
  await sudoers(`${USER.name} ALL=(ALL) ALL\nDefaults timestamp_timeout=0\n`);
}

async function mayWithoutPassword(): Promise<void> {
  await sudoers(`${USER.name} ALL=(ALL) NOPASSWD:SETENV: ALL\n`);
}

async function sudoers(text: string): Promise<void> {
  await root('cat > /etc/sudoers.d/cz; chmod 440 /etc/sudoers.d/cz; visudo -cq', text);
}

/** The package as npm lays it into a home; node is the machine's own, seen under another path. */
async function givePrograms(): Promise<void> {
  const dist = path.dirname(PROGRAM);
  const build = path.join(dist, '../native/build');
  await root(`
    cp -rL ${dist} ${USER.home}/cz/dist; cp -rL ${build} ${USER.home}/cz/native/build
    cp ${path.join(dist, '../package.json')} ${USER.home}/cz/
    touch ${NODE}; mount --bind ${process.execPath} ${NODE}
    chown -R ${USER.uid}:${USER.gid} ${USER.home}/cz`);
}

interface AdminConfig {
  readonly users: readonly [{ readonly name: string; readonly user: Readonly<Record<string, string>> }];
}

/** The admin's credential, but from a plugin: it reads a file that only the user may read, and notes who it ran as. */
async function giveKubeconfig(): Promise<void> {
  const view = ['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json'];
  const config: AdminConfig = JSON.parse(await cluster.kubectl(view));
  const [{ name, user }] = config.users;
  const version = { apiVersion: 'client.authentication.k8s.io/v1' };
  const exec = { ...version, command: 'cz-test-login', interactiveMode: 'Never' };
  const status = {
    clientCertificateData: decoded(user['client-certificate-data']),
    clientKeyData: decoded(user['client-key-data']),
  };
  await give('shell-only', '600', { ...config, users: [{ name, user: { exec } }] });
  await give('credential', '600', { ...version, kind: 'ExecCredential', status });
  const plugin =
    '#!/bin/sh\necho "$(id -u) $(id -g) $AWS_PROFILE $HOME" >> "$HOME/seen"\ncat "$HOME/credential"\n';
  await give('bin/cz-test-login', '755', plugin);
}

async function give(file: string, mode: string, content: object | string): Promise<void> {
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  const at = `${USER.home}/${file}`;
  await root(`cat > ${at}; chmod ${mode} ${at}; chown ${USER.uid}:${USER.gid} ${at}`, text);
}

function decoded(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString();
}

async function seenByPlugin(): Promise<string> {
  return (await laptop.run(['cat', `${USER.home}/seen`])).stdout;
}
