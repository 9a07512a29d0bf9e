/** `cz connect`, `status` and `disconnect` on a real cluster: every way in and out, and the laptop as it was after each. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import type { ConnectResult, Status } from '../../../src/control/schema.js';
import { openCluster, type SuiteLaptop } from '../harness/cluster.js';
import { API_ADDRESS } from '../harness/settings.js';
import { until } from '../harness/until.js';
import {
  PROGRAM,
  assertAsBefore,
  connected,
  cz,
  disconnected,
  ensureManager,
  laptopState,
  status,
  succeeded,
  testLaptop,
} from './support.js';

const OWN = 'needs the tests’ own cluster';
const SOMEBODY = { uid: 4242, gid: 4242 };
const SOON = { timeoutMs: 15_000, everyMs: 20 };

const cluster = await openCluster();
const laptop = await testLaptop(cluster, 'net-connect');
const roaming = await testLaptop(cluster, 'net-default', 'default-route');
const folder = await mkdtemp(path.join(tmpdir(), 'cz-connect-'));

before(() => ensureManager(cluster), { timeout: 200_000 });
afterEach(() => disconnected(laptop));
after(() => rm(folder, { recursive: true }));

async function answers(on: SuiteLaptop, url: string): Promise<string> {
  return (await on.run(['curl', '-sS', '--max-time', '10', url])).stdout.trim();
}

async function connectAgain(...args: string[]): Promise<ConnectResult> {
  const result: ConnectResult = JSON.parse(
    succeeded(await cz(laptop, ['connect', '-o', 'json', ...args])).stdout,
  );
  return result;
}

test('connect, status, disconnect, connect again: each time a member, each time the laptop as before', async () => {
  const before = await laptopState(laptop);
  for (const round of [1, 2]) {
    const now = await connected(laptop, '-n', 'shop');
    assert.deepEqual([round, now.namespaces], [round, ['shop']]);
    assert.match(await answers(laptop, 'http://web.shop'), /^web-/);
    const { stderr } = succeeded(await cz(laptop, ['disconnect']));
    assert.match(stderr, /^cz: disconnected from "/m);
    assert.equal((await status(laptop)).state, 'disconnected');
    await assertAsBefore(laptop, before);
  }
});

test('the status says what is connected, by which way, since when', async () => {
  const startedAt = Date.now();
  const now = await connected(laptop, '-n', 'shop');
  assert.equal(now.via, 'pod-proxy');
  assert.equal(now.interface?.name, 'cz0');
  assert.match(now.server ?? '', /^https:\/\//);
  assert.match(now.session?.id ?? '', /^[0-9a-f-]{36}$/);
  assert.ok(Date.parse(now.session?.since ?? '') >= startedAt - 1000);
  assert.deepEqual([now.manager?.namespace, now.manager?.pod], ['cz-system', 'cz-manager-0']);
  assert.ok(now.dns?.zones.includes('shop'));
  assert.ok((now.roundTripMs ?? 0) > 0);
  const routes = (await laptop.run(['ip', 'route', 'show', 'dev', 'cz0'])).stdout;
  for (const route of now.routes) assert.match(routes, new RegExp(`^${route.replaceAll('.', '\\.')} `, 'm'));
  assert.match(succeeded(await cz(laptop, ['status'])).stdout, /^connected to "/);
});

test('the Session stands in the cluster while connected, and is gone after disconnect', async () => {
  const { session } = await connected(laptop);
  const uids = () =>
    cluster.kubectl(['get', 'sessions', '-n', 'cz-system', '-o', 'jsonpath={.items[*].metadata.uid}']);
  assert.ok((await uids()).includes(session?.id ?? 'none'));
  await disconnected(laptop);
  await until('the end of the Session', async () => !(await uids()).includes(session?.id ?? ''), SOON);
});

test('connecting twice changes nothing and says so', async () => {
  const first = await connected(laptop, '-n', 'shop');
  const before = await laptopState(laptop);
  const again = succeeded(await cz(laptop, ['connect', '-n', 'shop']));
  assert.match(again.stderr, /already connected to "/);
  assert.equal((await connectAgain('-n', 'shop')).outcome, 'unchanged');
  const second = await status(laptop);
  assert.deepEqual([second.session, second.daemon], [first.session, first.daemon]);
  await assertAsBefore(laptop, before);
});

test('two connects at one moment end in one session, and both succeed', async () => {
  const outcomes = await Promise.all([connectAgain('-n', 'shop'), connectAgain('-n', 'shop')]);
  assert.deepEqual(outcomes.map(({ outcome }) => outcome).sort(), ['connected', 'unchanged']);
  const [one, other] = outcomes.map(({ status: now }) => now.session?.id);
  assert.equal(one, other);
});

test('connecting again with other namespaces and routes applies what differs, in the same session', async () => {
  const first = await connected(laptop, '-n', 'shop');
  const {
    outcome,
    changes,
    status: now,
  } = await connectAgain('-n', 'default', '--never-route', '10.244.0.0/16');
  assert.equal(outcome, 'changed');
  assert.deepEqual(changes, ['namespaces: shop → default', 'never routed: none → 10.244.0.0/16']);
  assert.deepEqual(now.namespaces, ['default']);
  assert.equal(now.session?.id, first.session?.id);
  assert.deepEqual(
    now.routes.filter((route) => route.startsWith('10.244.')),
    [],
  );
  const gone = await laptop.run(['ip', 'route', 'show', 'dev', 'cz0']);
  assert.doesNotMatch(gone.stdout, /10\.244\./);
  assert.match((await laptop.run(['cat', '/etc/resolv.conf'])).stdout, /^search default\.svc\./m);
});

test('with another context: exit 6, both named, nothing changed', async () => {
  const first = await connected(laptop, '-n', 'shop');
  const before = await laptopState(laptop);
  const kubeconfig = await withContext('elsewhere');
  const { exitCode, stderr } = await cz(laptop, ['connect'], { kubeconfig });
  assert.equal(exitCode, 6, stderr);
  assert.ok(stderr.includes(`"${first.context}"`) && stderr.includes('"elsewhere"'), stderr);
  assert.match(stderr, /^cz: hint: cz disconnect/m);
  assert.deepEqual((await status(laptop)).session, first.session);
  await assertAsBefore(laptop, before);
});

interface Kubeconfig {
  readonly contexts: readonly { readonly name: string; readonly context: object }[];
}

/** Writes the admin's kubeconfig with its context under another name. */
async function withContext(name: string): Promise<string> {
  const config: Kubeconfig = JSON.parse(
    await cluster.kubectl(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json']),
  );
  const contexts = config.contexts.map((one) => ({ ...one, name }));
  const file = path.join(folder, `${name}.json`);
  await writeFile(file, JSON.stringify({ ...config, contexts, 'current-context': name }), { mode: 0o600 });
  return file;
}

test('connect -- CMD: connected while it runs, its output and exit code are cz’s, and all is as before', async () => {
  const before = await laptopState(laptop);
  const line = 'curl -sS --max-time 10 http://web.shop; exit 7';
  const { exitCode, stdout } = await cz(laptop, ['connect', '-n', 'shop', '--', 'sh', '-c', line]);
  assert.equal(exitCode, 7);
  assert.match(stdout, /^web-\S+\n$/);
  assert.equal((await status(laptop)).state, 'disconnected');
  await assertAsBefore(laptop, before);
});

test('connect -- CMD on a connected laptop leaves it connected', async () => {
  const { session } = await connected(laptop);
  succeeded(await cz(laptop, ['connect', '--', 'true']));
  assert.deepEqual((await status(laptop)).session, session);
});

test('connect -- CMD with a command that is not there: 127, as a shell says it, and disconnected', async () => {
  const { exitCode, stderr } = await cz(laptop, ['connect', '--', 'no-such-command']);
  assert.equal(exitCode, 127);
  assert.match(stderr, /^cz: error: starting "no-such-command": /m);
  assert.equal((await status(laptop)).state, 'disconnected');
});

test('connect -- CMD passes signals on, and leaves when they ended the command', async () => {
  const script = 'trap "echo got it; exit 9" TERM; echo running; while :; do read -r line; done';
  const child = laptop.spawn([process.execPath, PROGRAM, 'connect', '--', 'bash', '-c', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, KUBECONFIG: cluster.kubeconfig },
  });
  let said = '';
  child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until('the command to run', () => said.includes('running'), SOON);
  child.kill('SIGTERM');
  child.stdin?.write('\n'); // bash traps a signal after the command in hand
  const [code]: unknown[] = await once(child, 'exit');
  assert.deepEqual([code, said], [9, 'running\ngot it\n']);
  assert.equal((await status(laptop)).state, 'disconnected');
});

test(
  'SIGINT while connecting: exit 130, everything undone',
  { skip: cluster.own ? false : OWN },
  async () => {
    const before = await laptopState(laptop);
    await laptop.shape({ delayMs: 150 });
    try {
      const child = laptop.spawn([process.execPath, PROGRAM, 'connect'], {
        stdio: 'ignore',
        env: { ...process.env, KUBECONFIG: cluster.kubeconfig },
      });
      const ended = once(child, 'exit');
      await until('connecting', async () => (await status(laptop)).state === 'connecting', SOON);
      child.kill('SIGINT');
      assert.deepEqual(await ended, [130, null]);
    } finally {
      await laptop.unshape();
    }
    await until('the end of the daemon', async () => (await status(laptop)).daemon === null, SOON);
    await assertAsBefore(laptop, before);
  },
);

test('`cz connect | tail` returns, also where the pipe has further descriptors: the daemon keeps none of them', async () => {
  const line = '"$@" 2>&1 5>&1 200>&1 | tail -1; echo "${PIPESTATUS[0]}"';
  const { stdout } = await laptop.run(
    ['bash', '-c', line, 'bash', process.execPath, PROGRAM, 'connect', '-n', 'shop'],
    { env: { ...process.env, KUBECONFIG: cluster.kubeconfig }, timeoutMs: 20_000 },
  );
  assert.match(stdout, /^cz: connected to ".*"; try: curl http:\/\/SERVICE\.shop\n0\n$/);
});

test('the status is JSON with every key in every state', { skip: cluster.own ? false : OWN }, async () => {
  const seen = new Map<string, Status>();
  const look = async () => {
    const now = await status(laptop);
    seen.set(now.state, now);
    return now.state;
  };
  await look();
  await laptop.shape({ delayMs: 150 });
  try {
    const connecting = cz(laptop, ['connect']);
    await until('connecting', async () => (await look()) === 'connecting', SOON);
    succeeded(await connecting);
    assert.equal(await look(), 'connected');
    await laptop.shape({ reset: true });
    await until('reconnecting', async () => (await look()) === 'reconnecting', SOON);
  } finally {
    await laptop.unshape();
  }
  await until('connected again', async () => (await look()) === 'connected', SOON);
  assert.deepEqual([...seen.keys()].sort(), ['connected', 'connecting', 'disconnected', 'reconnecting']);
  const [keys] = [...seen.values()].map((one) => Object.keys(one).sort());
  for (const [state, one] of seen) assert.deepEqual([state, Object.keys(one).sort()], [state, keys]);
});

test('the socket serves root and the user who connected; another user gets exit 5 and changes nothing', async () => {
  const before = await connected(laptop);
  for (const command of ['status', 'disconnect', 'logs']) {
    const { exitCode, stderr } = await cz(laptop, [command], { as: SOMEBODY });
    assert.deepEqual([command, exitCode, stderr.includes('cz: error: ')], [command, 5, true]);
  }
  assert.deepEqual((await status(laptop)).session, before.session);
});

test('disconnect with nothing connected is fine, and says so', async () => {
  const { stderr } = succeeded(await cz(laptop, ['disconnect']));
  assert.match(stderr, /nothing is connected/);
});

test(
  'a laptop with a default route keeps it, and its way to the API server',
  { skip: cluster.own ? false : OWN },
  async () => {
    const ways = async () => {
      const [fallback, api, far] = await Promise.all(
        [
          ['show', 'default'],
          ['get', API_ADDRESS],
          ['get', '192.0.2.1'],
        ].map((words) => roaming.run(['ip', 'route', ...words])),
      );
      return [fallback, api, far].map((one) => one?.stdout.replaceAll(/ uid \d+| +$/gm, ''));
    };
    const before = await ways();
    assert.match(before[0] ?? '', /^default via /);
    const state = await laptopState(roaming);
    await connected(roaming, '-n', 'shop');
    assert.match(await answers(roaming, 'http://web'), /^web-/);
    assert.deepEqual(await ways(), before);
    await disconnected(roaming);
    await assertAsBefore(roaming, state);
  },
);
