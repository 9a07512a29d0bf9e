import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { CzError } from '../../../src/base/errors.js';
import { silentLog } from '../../../src/base/log.js';
import type { WatchOptions } from '../../../src/kube/watch.js';
import { openNetworks, type NetworksOptions, type SeenNetworks } from '../../../src/manager/networks.js';
import { until } from '../../support/wait.js';

const SERVICE_CIDRS = '/apis/networking.k8s.io/v1/servicecidrs';
const SERVICE_CIDRS_BETA = '/apis/networking.k8s.io/v1beta1/servicecidrs';

const folder = mkdtempSync(join(tmpdir(), 'cz-networks-'));
const files = { resolvConf: join(folder, 'resolv.conf'), routes: join(folder, 'route') };
writeFileSync(
  files.resolvConf,
  'search cz-system.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\n',
);
writeFileSync(files.routes, 'Iface\tDestination\tGateway\neth0\t00000000\t0101F40A\n');
after(() => rmSync(folder, { recursive: true }));

type Objects = Readonly<Record<string, unknown>>;

/** A cluster that answers watches with the objects it is given; a path that it does not have is NOT_FOUND. */
class FakeCluster {
  readonly asked: string[] = [];
  readonly #objects: Map<string, Objects>;
  readonly #watches = new Map<string, () => void>();

  constructor(objects: Readonly<Record<string, Objects>>) {
    this.#objects = new Map(Object.entries(objects));
  }

  set(path: string, objects: Objects): void {
    this.#objects.set(path, objects);
    this.#watches.get(path)?.();
  }

  watch<T>(path: string, options: WatchOptions<T>) {
    this.asked.push(path);
    const live = new Map<string, T>();
    const tell = () => {
      live.clear();
      // As JSON, like from an API server: what is in it is the test's word.
      const answer: Record<string, T> = JSON.parse(JSON.stringify(this.#objects.get(path) ?? {}));
      for (const [uid, object] of Object.entries(answer)) live.set(uid, object);
      if (options.signal?.aborted !== true) options.onChange?.(live);
    };
    const missing = new CzError('NOT_FOUND', path);
    if (this.#objects.has(path)) {
      this.#watches.set(path, tell);
      queueMicrotask(tell);
    } else queueMicrotask(() => options.onError?.(missing));
    const ready = async () => {
      if (!this.#objects.has(path)) throw missing;
    };
    return { objects: live, ready, close: () => undefined };
  }
}

const node = (address: string, podCIDR: string) => ({
  spec: { podCIDR },
  status: { addresses: [{ address }] },
});
const namespace = (name: string) => ({ metadata: { name } });
const TWO_NODES = {
  '/api/v1/nodes': { a: node('172.31.0.11', '10.244.1.0/24'), b: node('172.31.0.12', '10.244.2.0/24') },
  '/api/v1/namespaces': { c: namespace('shop'), d: namespace('default') },
};
const CONFIG = {
  podIP: '10.244.1.10',
  hostIP: '172.31.0.11',
  alsoRoute: ['10.50.0.0/16'],
  nodeAddresses: false,
};
const NODE_ADDRESSES = ['10.244.1.0', '10.244.1.1', '10.244.2.0', '10.244.2.1', '172.31.0.11', '172.31.0.12'];

function open(t: TestContext, cluster: FakeCluster, config: Partial<NetworksOptions['config']> = {}) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const seen: SeenNetworks[] = [];
  const options = { api: cluster, log: silentLog, signal: stop.signal, files };
  const networks = openNetworks({ ...options, config: { ...CONFIG, ...config } });
  networks.onChange((now) => seen.push(now));
  return { networks, seen, stop };
}

test('ServiceCIDR objects and podCIDRs are told, node addresses stay forbidden and unsaid', async (t) => {
  const cluster = new FakeCluster({
    ...TWO_NODES,
    [SERVICE_CIDRS]: { s: { spec: { cidrs: ['10.96.0.0/16'] } } },
  });
  const { networks, seen } = open(t, cluster);
  assert.equal(networks.ready, false);
  const announced = {
    services: ['10.96.0.0/16'],
    pods: ['10.244.1.0/24', '10.244.2.0/24'],
    nodes: [],
    dns: { server: '10.96.0.10', clusterDomain: 'cluster.local' },
    namespaces: ['default', 'shop'],
  };
  assert.deepEqual(await networks.current(), announced);
  assert.equal(networks.ready, true);
  const forwarding = {
    allowed: ['10.96.0.0/16', '10.244.1.0/24', '10.244.2.0/24', '10.50.0.0/16'],
    forbidden: NODE_ADDRESSES,
    resolvers: ['10.96.0.10'],
  };
  assert.deepEqual(seen, [{ announced, forwarding }]);
  assert.ok(!cluster.asked.some((path) => path.includes('pods') || path.includes('/services')));
});

test('node addresses are announced where they are switched on', async (t) => {
  const cluster = new FakeCluster({ ...TWO_NODES, [SERVICE_CIDRS]: {} });
  const { networks, seen } = open(t, cluster, { nodeAddresses: true });
  const { nodes } = await networks.current();
  assert.deepEqual(
    nodes,
    NODE_ADDRESSES.map((address) => `${address}/32`),
  );
  assert.deepEqual(seen[0]?.forwarding.forbidden, []);
});

test('an older cluster is asked by v1beta1, and one without ServiceCIDR by its Services', async (t) => {
  const beta = new FakeCluster({
    ...TWO_NODES,
    [SERVICE_CIDRS_BETA]: { s: { spec: { cidrs: ['10.97.0.0/16'] } } },
  });
  assert.deepEqual((await open(t, beta).networks.current()).services, ['10.97.0.0/16']);
  const old = new FakeCluster({
    ...TWO_NODES,
    '/api/v1/services': { s: { spec: { clusterIP: '10.98.0.1' } } },
  });
  assert.deepEqual((await open(t, old).networks.current()).services, ['10.98.0.0/24']);
});

test('where podCIDRs are not what pods get, their networks are learnt from pods', async (t) => {
  const pods = { p: { status: { podIPs: [{ ip: '10.0.5.5' }] } } };
  const cluster = new FakeCluster({ ...TWO_NODES, [SERVICE_CIDRS]: {}, '/api/v1/pods': pods });
  assert.deepEqual((await open(t, cluster, { podIP: '10.0.5.5' }).networks.current()).pods, ['10.0.5.0/24']);
});

test('a manager of some namespaces looks at these alone', async (t) => {
  const cluster = new FakeCluster({
    '/api/v1/nodes': TWO_NODES['/api/v1/nodes'],
    '/api/v1/namespaces/shop/services': { s: { spec: { clusterIP: '10.98.0.1' } } },
    '/api/v1/namespaces/blog/services': { s: { spec: { clusterIP: '10.98.1.1' } } },
  });
  const told = await open(t, cluster, { namespaces: ['shop', 'blog'] }).networks.current();
  assert.deepEqual(told.services, ['10.98.0.0/23']);
  assert.deepEqual(told.namespaces, ['shop', 'blog']);
});

test('changes are told together, and nothing when nothing that matters has changed', async (t) => {
  const cluster = new FakeCluster({ ...TWO_NODES, [SERVICE_CIDRS]: {} });
  const { networks, seen } = open(t, cluster);
  await networks.current();
  const nodes = { ...TWO_NODES['/api/v1/nodes'], c: node('172.31.0.13', '10.244.3.0/24') };
  for (let heartbeat = 0; heartbeat < 5; heartbeat += 1) cluster.set('/api/v1/nodes', nodes);
  cluster.set('/api/v1/namespaces', { e: namespace('new') });
  await until('the change is told', () => seen.length > 1);
  assert.deepEqual(seen.at(-1)?.announced.pods, ['10.244.1.0/24', '10.244.2.0/23']);
  assert.deepEqual(seen.at(-1)?.announced.namespaces, ['new']);
  cluster.set('/api/v1/nodes', nodes);
  cluster.set('/api/v1/namespaces', { e: namespace('newer') });
  await until('the next change is told', () => seen.at(-1)?.announced.namespaces[0] === 'newer');
  assert.equal(seen.length, 3);
});

test('who waits for the networks of a manager that ends is told so', async (t) => {
  const { networks, stop } = open(t, new FakeCluster({}));
  const waiting = networks.current();
  stop.abort();
  await assert.rejects(waiting, { code: 'INTERRUPTED' });
  networks.close();
});
