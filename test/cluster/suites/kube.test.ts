/**
 * The Kubernetes client against a real API server, from a laptop: what calls and refusals look like, and a watch that
 * goes on over a silent cut, a reset, and a restart of the API server, without losing a change.
 */
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { waitFor } from '../../support/wait-for.js';
import { openCluster } from '../harness/cluster.js';

const NAMESPACE = 'kube-suite';
const cluster = await openCluster();
const laptop = await cluster.laptop('suite-kube');

const CALLS = new URL('../../support/kube-calls.ts', import.meta.url);
const FOLLOW = new URL('../../support/kube-follow.ts', import.meta.url);
const program = (file: URL, kubeconfig: string): string[] => {
  return [process.execPath, '--import', 'tsx', fileURLToPath(file), kubeconfig, NAMESPACE];
};

before(() => cluster.kubectl(['create', 'namespace', NAMESPACE]));
after(async () => {
  await cluster.kubectl(['delete', 'namespace', NAMESPACE]);
  await laptop.close();
});

interface Said {
  readonly name: string;
  readonly value?: unknown;
  readonly code?: string;
  readonly message?: string;
}

async function calls(kubeconfig: string): Promise<Map<string, Said>> {
  const { stdout } = await laptop.run(program(CALLS, kubeconfig), { timeoutMs: 60_000 });
  const said: Said[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return new Map(said.map((one) => [one.name, one]));
}

test('calls do what they say, and refusals have their codes', async () => {
  const said = await calls(cluster.kubeconfig);
  const value = (name: string) => said.get(name)?.value;
  const code = (name: string) => said.get(name)?.code;
  assert.deepEqual(value('create'), { a: '1' });
  assert.deepEqual(value('merge'), { a: '1', b: '2' });
  assert.deepEqual(value('json'), { b: '2' });
  assert.equal(value('apply'), true);
  assert.deepEqual(value('get'), { b: '2', c: '3' });
  assert.deepEqual([code('create again'), code('remove another')], ['CONFLICT', 'CONFLICT']);
  assert.deepEqual(
    [code('remove'), code('get removed'), code('invalid')],
    [undefined, 'NOT_FOUND', 'INVALID'],
  );
  assert.deepEqual(value('dial'), [new URL(await server()).hostname]);
});

async function server(): Promise<string> {
  return cluster.kubectl(['config', 'view', '--minify', '-o', 'jsonpath={.clusters[0].cluster.server}']);
}

test('a user without rights is told which right is missing, on what, for whom', async () => {
  const said = await calls(await cluster.user('kube-suite-user', ['kube-suite-group']));
  assert.deepEqual(said.get('who')?.value, {
    username: 'kube-suite-user',
    groups: ['kube-suite-group', 'system:authenticated'],
  });
  assert.equal(said.get('create')?.code, 'NOT_PERMITTED');
  const where = `in namespace "${NAMESPACE}"`;
  assert.equal(said.get('create')?.message, `user "kube-suite-user" may not create configmaps ${where}`);
  assert.equal(said.get('get')?.message, `user "kube-suite-user" may not get configmaps "calls" ${where}`);
});

test('a watch goes on over a silent cut, a reset and a restart of the API server, and misses nothing', async () => {
  const child = laptop.spawn(program(FOLLOW, cluster.kubeconfig), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  assert.ok(child.stdout !== null);
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  const seen = (line: string, timeoutMs?: number) => waitFor(line, () => lines.includes(line), timeoutMs);
  const trouble = () => lines.filter((line) => line.startsWith('trouble')).length;
  const create = (name: string) => cluster.kubectl(['create', 'configmap', '-n', NAMESPACE, name]);
  try {
    await seen('ready');
    await create('before');
    await seen('added before');
    await laptop.shape({ cut: true });
    await create('during-cut');
    await waitFor('the cut to be noticed', () => trouble() > 0, 30_000);
    await laptop.unshape();
    await seen('added during-cut', 20_000);
    await laptop.shape({ reset: true });
    await laptop.unshape();
    await create('after-reset');
    await seen('added after-reset', 20_000);
    await cluster.restart('apiserver');
    await create('after-restart');
    await seen('added after-restart', 30_000);
    await cluster.kubectl(['delete', 'configmap', '-n', NAMESPACE, 'before']);
    await seen('removed before', 20_000);
  } finally {
    child.kill('SIGKILL');
    await laptop.unshape();
  }
  const added = lines.filter((line) => /^added (?!kube-root-ca)/.test(line));
  assert.deepEqual(added, ['added before', 'added during-cut', 'added after-reset', 'added after-restart']);
});
