/**
 * `cz install` and `cz uninstall` on a real cluster: twice, upgraded, refused for each reason, and gone without a trace.
 * Starts and ends with a manager installed, as the other suites expect it.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { programEntries } from '../../../agent-image/libraries.js';
import { VERSION } from '../../../src/base/version.js';
import { cz as runCz, loadImage, loadManagerImage, type Outcome } from '../../support/manager.js';
import { waitFor } from '../../support/wait-for.js';
import { openCluster } from '../harness/cluster.js';

const LABEL = 'cz.dev/install=manager';
/** Kinds that others change while the suite runs. */
const RESTLESS = /^(events|leases|podmetrics|nodemetrics|componentstatuses)/;

const cluster = await openCluster();
const laptop = await cluster.laptop('install');
/** For tests that load images or make users, which no foreign cluster lets them. */
const OWN = { skip: cluster.own ? false : 'needs the tests’ own cluster' };
let image = '';

before(async () => {
  image = await loadManagerImage(cluster);
  succeeded(await cz('uninstall'));
});

after(async () => {
  succeeded(await cz('uninstall'));
  succeeded(await cz('install', '--image', image));
});

function cz(...args: string[]): Promise<Outcome> {
  return runCz(laptop, cluster.kubeconfig, ...args);
}

function succeeded(outcome: Outcome): Outcome {
  assert.equal(outcome.exitCode, 0, outcome.stderr);
  return outcome;
}

async function json<T>(...args: string[]): Promise<T> {
  const found: T = JSON.parse(await cluster.kubectl([...args, '-o', 'json']));
  return found;
}

interface Item {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly resourceVersion: string };
}

/** Every object of the cluster by kind, namespace and name; generated names without their random end. */
async function everything(): Promise<string[]> {
  const kinds = await cluster.kubectl(['api-resources', '--verbs=list', '-o', 'name']);
  const steady = kinds.split('\n').filter((kind) => kind !== '' && !RESTLESS.test(kind));
  const { items } = await json<{ items: Item[] }>('get', steady.join(','), '--all-namespaces');
  const names = items.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`);
  return [...new Set(names)].sort();
}

async function installedObjects(): Promise<Map<string, string>> {
  const kinds =
    'statefulset,service,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,priorityclass,' +
    'customresourcedefinition,validatingadmissionpolicy,validatingadmissionpolicybinding,namespace';
  const { items } = await json<{ items: Item[] }>('get', kinds, '--all-namespaces', '-l', LABEL);
  return new Map(
    items.map(({ kind, metadata }) => [
      `${kind} ${metadata.namespace ?? ''}/${metadata.name}`,
      metadata.resourceVersion,
    ]),
  );
}

test('--print shows what kubectl can apply, and needs no cluster', async () => {
  const { exitCode, stdout, stderr } = await runCz(laptop, '/nonexistent', 'install', '--print');
  assert.equal(exitCode, 0, stderr);
  const report = await cluster.kubectl(['create', '--dry-run=client', '-o', 'name', '-f', '-'], stdout);
  assert.match(report, /^statefulset\.apps\/cz-manager$/m);
});

test('install ends with a Ready pod, and uninstall leaves the cluster as it was', async () => {
  const before = await everything();
  const { stdout, stderr } = succeeded(await cz('install', '--image', image));
  assert.match(stdout, /the manager is ready: pod "cz-manager-0"/);
  assert.match(stderr, /PodSecurity level privileged/);
  assert.ok((await installedObjects()).size >= 15);
  const session = await createSession('cluster-admin-made');
  const { stderr: told } = succeeded(await cz('uninstall'));
  assert.match(told, /ending 1 session/, session);
  assert.deepEqual(await everything(), before);
  assert.match(succeeded(await cz('uninstall')).stdout, /nothing of cz is in the cluster/);
});

async function createSession(name: string): Promise<string> {
  const { status } = await json<{ status: { userInfo: { username: string } } }>('auth', 'whoami');
  const session = {
    apiVersion: 'cz.dev/v1',
    kind: 'Session',
    metadata: { name, namespace: 'cz-system' },
    spec: { user: status.userInfo.username, publicKey: `${'A'.repeat(43)}=`, software: VERSION },
  };
  return cluster.kubectl(['create', '-f', '-'], JSON.stringify(session));
}

test('installing twice changes nothing', async () => {
  succeeded(await cz('install', '--image', image));
  await waitFor('the policies to be judged by their controller', policiesJudged, 30_000);
  const first = await installedObjects();
  const [pod] = await pods();
  succeeded(await cz('install'));
  const second = await installedObjects();
  const changed = [...second].filter(([name, version]) => first.get(name) !== version).map(([name]) => name);
  assert.deepEqual(changed, []);
  assert.equal((await pods())[0]?.metadata.uid, pod?.metadata.uid);
});

/** The controller writes the outcome of its type check into each policy's status, once. */
async function policiesJudged(): Promise<boolean> {
  const path = 'jsonpath={.items[*].status.observedGeneration}';
  const judged = await cluster.kubectl(['get', 'validatingadmissionpolicy', '-l', LABEL, '-o', path]);
  return judged.split(' ').filter((generation) => generation !== '').length === 2;
}

interface PodItem {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: { readonly containers: { readonly image: string }[] };
}

async function pods(namespace = 'cz-system'): Promise<PodItem[]> {
  return (await json<{ items: PodItem[] }>('get', 'pods', '-n', namespace, '-l', LABEL)).items;
}

test('an upgrade keeps settings, moves the image’s tag, and takes away what another version left', async () => {
  succeeded(await cz('install', '--allow-group', 'testers', '--only-namespaces', 'shop,default'));
  await pretendVersion('0.0.9');
  await cluster.kubectl(['create', 'configmap', 'cz-former', '-n', 'cz-system']);
  await cluster.kubectl(['label', 'configmap', 'cz-former', '-n', 'cz-system', LABEL]);
  const { stderr } = succeeded(await cz('install'));
  assert.match(stderr, new RegExp(`upgrading cz 0\\.0\\.9 to cz ${VERSION.replaceAll('.', '\\.')}`));
  const objects = await installedObjects();
  for (const namespace of ['shop', 'default'])
    assert.ok(objects.has(`Role ${namespace}/cz-manager-networks`), namespace);
  assert.equal((await pods())[0]?.spec.containers[0]?.image, `cz-manager:${VERSION}`);
  const binding = await json<{ subjects: unknown }>('get', 'rolebinding', 'cz-connect', '-n', 'cz-system');
  assert.deepEqual(binding.subjects, [
    { apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'testers' },
  ]);
  assert.doesNotMatch(await cluster.kubectl(['get', 'cm', '-n', 'cz-system', '-o', 'name']), /cz-former/);
});

/** Makes the install look like one of another version. */
async function pretendVersion(version: string): Promise<void> {
  const settings = {
    image: `cz-manager:${version}`,
    allowGroups: ['testers'],
    onlyNamespaces: ['shop', 'default'],
  };
  const metadata = {
    labels: { 'app.kubernetes.io/version': version },
    annotations: { 'cz.dev/settings': JSON.stringify(settings) },
  };
  const patch = JSON.stringify({ metadata });
  await cluster.kubectl([
    'patch',
    'statefulset',
    'cz-manager',
    '-n',
    'cz-system',
    '--type=merge',
    '-p',
    patch,
  ]);
}

test('settings chosen anew are taken, and roles of namespaces left out are removed', async () => {
  succeeded(await cz('install', '--only-namespaces', 'shop'));
  const objects = await installedObjects();
  assert.ok(objects.has('Role shop/cz-manager-networks'));
  assert.ok(!objects.has('Role default/cz-manager-networks'));
  assert.ok(!objects.has('RoleBinding default/cz-manager-networks'));
  succeeded(await cz('install', '--only-namespaces', '', '--allow-group', ''));
  assert.ok(!(await installedObjects()).has('Role shop/cz-manager-networks'));
  const binding = await json<{ subjects?: unknown }>('get', 'rolebinding', 'cz-connect', '-n', 'cz-system');
  assert.equal(binding.subjects, undefined);
});

test('a second manager in another namespace is refused, and names the first', async () => {
  const { exitCode, stderr } = await cz('install', '--manager-namespace', 'elsewhere');
  assert.equal(exitCode, 6);
  assert.match(stderr, /installed already, in namespace "cz-system"/);
  assert.match(stderr, /hint: cz install --manager-namespace cz-system/);
  assert.doesNotMatch(await cluster.kubectl(['get', 'namespaces', '-o', 'name']), /elsewhere/);
});

test('an image that no node can get is the cause told, and a good one mends it', async () => {
  const { exitCode, stderr } = await cz('install', '--image', 'registry.invalid/cz-manager:none');
  assert.equal(exitCode, 1);
  assert.match(stderr, /error: node "[^"]+" cannot get the image "registry\.invalid\/cz-manager:none"/);
  assert.match(stderr, /hint: push the image/);
  succeeded(await cz('install', '--image', image));
});

test('a manager that ends at once is told with its last words', OWN, async () => {
  const words =
    '{"level":"error","message":"the manager cannot go on","code":"X","error":{"message":"no luck"}}\n';
  await loadImage(cluster, {
    entries: [...(await programEntries([{ source: '/bin/cat' }])), { path: '/words', content: words }],
    config: { Entrypoint: ['/bin/cat', '/words'] },
    tags: ['cz-test/ends:1'],
  });
  const { exitCode, stderr } = await cz('install', '--image', 'cz-test/ends:1');
  assert.equal(exitCode, 1);
  assert.match(stderr, /ended with exit code 0; its last words: the manager cannot go on: no luck/);
});

test('a manager that gets no TUN device names the runtime', OWN, async () => {
  const error = { message: 'opening "/dev/net/tun": operation not permitted' };
  const words = JSON.stringify({ message: 'the manager cannot go on', code: 'TUN_MISSING', error });
  await loadImage(cluster, {
    entries: [...(await programEntries([{ source: '/bin/cat' }])), { path: '/words', content: `${words}\n` }],
    config: { Entrypoint: ['/bin/cat', '/words'] },
    tags: ['cz-test/no-tun:1'],
  });
  const { exitCode, stderr } = await cz('install', '--image', 'cz-test/no-tun:1');
  assert.equal(exitCode, 1);
  const runtime = await cluster.kubectl([
    'get',
    'nodes',
    '-o',
    'jsonpath={.items[0].status.nodeInfo.containerRuntimeVersion}',
  ]);
  assert.ok(stderr.includes(`(container runtime: ${runtime})`), stderr);
  assert.match(stderr, /hint: runc 1\.2\.0 to 1\.2\.3 and crun refuse/);
});

test('a cluster without room for the pod is the cause told', async () => {
  const nodes = (await cluster.kubectl(['get', 'nodes', '-o', 'name'])).trim().split('\n');
  for (const node of nodes) await cluster.kubectl(['cordon', node]);
  try {
    await cluster.kubectl(['delete', 'pod', 'cz-manager-0', '-n', 'cz-system', '--ignore-not-found']);
    const { exitCode, stderr } = await cz('install', '--image', image);
    assert.equal(exitCode, 1);
    assert.match(stderr, /no node takes the manager's pod: .*unschedulable/);
  } finally {
    for (const node of nodes) await cluster.kubectl(['uncordon', node]);
  }
  succeeded(await cz('install', '--image', image));
});

test('a user without rights is told which one, on what, and nothing is left half made', OWN, async () => {
  succeeded(await cz('uninstall'));
  const before = await everything();
  const { exitCode, stderr } = await runCz(laptop, await cluster.user('nobody-special'), 'install');
  assert.equal(exitCode, 5);
  assert.match(stderr, /user "nobody-special" may not get .*/);
  assert.deepEqual(await everything(), before);
});

test('a namespace of somebody else: a quota is the cause told, and uninstall empties it of cz and lets it stand', async () => {
  succeeded(await cz('uninstall'));
  await cluster.kubectl(['create', 'namespace', 'cz-adopted']);
  try {
    await cluster.kubectl(['create', 'quota', 'none', '--hard=pods=0', '-n', 'cz-adopted']);
    const flags = ['--manager-namespace', 'cz-adopted', '--image', image];
    const { exitCode, stderr } = await cz('install', ...flags);
    assert.equal(exitCode, 1);
    assert.match(stderr, /a quota refuses the manager's pod: .*exceeded quota: none/);
    await cluster.kubectl(['delete', 'quota', 'none', '-n', 'cz-adopted']);
    assert.match(succeeded(await cz('install', ...flags)).stdout, /in namespace "cz-adopted"/);
    succeeded(await cz('uninstall'));
    const space = await json<{ metadata: { labels: object; annotations?: object } }>(
      'get',
      'ns',
      'cz-adopted',
    );
    assert.deepEqual(space.metadata.labels, { 'kubernetes.io/metadata.name': 'cz-adopted' });
    assert.equal(space.metadata.annotations, undefined);
    assert.deepEqual(await pods('cz-adopted'), []);
  } finally {
    await cluster.kubectl(['delete', 'namespace', 'cz-adopted']);
  }
});

test('a namespace whose owner set another PodSecurity level is not changed behind their back', async () => {
  succeeded(await cz('uninstall'));
  await cluster.kubectl(['create', 'namespace', 'cz-strict']);
  try {
    const level = 'pod-security.kubernetes.io/enforce=restricted';
    await cluster.kubectl(['label', 'namespace', 'cz-strict', level]);
    const { exitCode, stderr } = await cz('install', '--manager-namespace', 'cz-strict', '--image', image);
    assert.equal(exitCode, 6);
    assert.match(stderr, /applying Namespace "cz-strict": .*pod-security\.kubernetes\.io\/enforce/s);
    const labels = await cluster.kubectl(['get', 'ns', 'cz-strict', '-o', 'jsonpath={.metadata.labels}']);
    assert.match(labels, /"pod-security\.kubernetes\.io\/enforce":"restricted"/);
  } finally {
    await cluster.kubectl(['delete', 'namespace', 'cz-strict']);
  }
});

test('a pod that is deleted comes back by itself', async () => {
  succeeded(await cz('install', '--image', image));
  const [pod] = await pods();
  await cluster.kubectl(['delete', 'pod', 'cz-manager-0', '-n', 'cz-system']);
  await waitFor(
    'a new pod that is Ready',
    async () => {
      const ready = await cluster.kubectl(['get', 'pods', '-n', 'cz-system', '-l', LABEL, '-o', READY]);
      return ready.startsWith('True ') && !ready.includes(pod?.metadata.uid ?? '');
    },
    60_000,
  );
});

const READY = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status} {.items[*].metadata.uid}';
