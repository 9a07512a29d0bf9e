/**
 * The packet path on the tests' own cluster, by ordinary programs: Services and pods on both nodes, TCP, UDP and ICMP;
 * what is dead stays dead, what is closed is refused, and nobody gets in from the other side.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openCluster, type SuiteLaptop } from '../harness/cluster.js';
import { NODES } from '../harness/settings.js';
import { until } from '../harness/until.js';
import { connected, ensureManager, field, status, testLaptop, MANAGER } from './support.js';

const ECHO_CLIENT = fileURLToPath(new URL('../../support/echo-client.mjs', import.meta.url));
const SOMEBODY = { uid: 4242, gid: 4242 };
const MIB = 1024 * 1024;
/** Fits a laptop's patience and still spans many windows of the tunnel. */
const TRANSFER_BYTES = 128 * MIB;
/** "At once": far below any timer of TCP (its first retransmission comes after 1 s, RFC 6298 §2.1). */
const AT_ONCE_MS = 900;
const SOON = { timeoutMs: 10_000, everyMs: 50 };

const cluster = await openCluster();
const laptop = await testLaptop(cluster, 'net-network');
const second = await testLaptop(cluster, 'net-other');

describe(
  'the network of a connected laptop',
  { skip: cluster.own ? false : 'needs the tests’ own cluster' },
  () => {
    let folder = '';
    let pods: readonly Pod[] = [];

    before(
      async () => {
        await ensureManager(cluster);
        folder = await mkdtemp(path.join(tmpdir(), 'cz-network-'));
        await connected(laptop, '-n', 'shop');
        pods = await webPods();
      },
      { timeout: 200_000 },
    );
    after(() => rm(folder, { recursive: true, force: true }));

    const get = async (url: string, ...options: string[]) =>
      (
        await laptop.run(['curl', '-sS', '--max-time', '10', ...options, url], { as: SOMEBODY })
      ).stdout.trim();

    for (const name of [
      'web',
      'web.shop',
      'web.shop.svc',
      'web.shop.svc.cluster.local',
      'web.shop.svc.cluster.local.',
    ])
      test(`curl reaches the Service as http://${name}`, async () => {
        assert.match(await get(`http://${name}`), /^web-/);
      });

    test('a Service answers at its ClusterIP, from both of its pods', async () => {
      const address = await field(cluster, 'service web -n shop', '{.spec.clusterIP}');
      const seen = new Set<string>();
      await until(
        'an answer of each pod',
        async () => seen.add(await get(`http://${address}`)).size === 2,
        SOON,
      );
      assert.deepEqual([...seen].sort(), pods.map(({ name }) => name).sort());
    });

    test('pods of both nodes answer at their own addresses, and by the names of addresses', async () => {
      assert.deepEqual(pods.map(({ node }) => node).sort(), ['node1', 'node2']);
      for (const { name, address } of pods) {
        assert.equal(await get(`http://${address}:8080`), name);
        assert.equal(await get(`http://${address.replaceAll('.', '-')}.shop.pod.cluster.local:8080`), name);
      }
    });

    test('pods of both nodes answer ping', async () => {
      for (const { address } of pods) {
        const { stdout } = await laptop.run(['ping', '-n', '-c', '3', '-i', '0.2', '-W', '2', address]);
        assert.match(stdout, / 0% packet loss/);
      }
    });

    test('every port of a multi-port Service leads to its own container', async () => {
      assert.match(await get('http://multi.shop'), /^multi-/);
      assert.equal(JSON.parse(await get('http://multi.shop:9090/request')).host, 'multi.shop:9090');
      assert.equal(await echo('multi.shop', 7007, 10), 'same');
    });

    for (const bytes of [1, 1200, 1472, 1473, 9000, 65_000])
      test(`a UDP datagram of ${bytes} bytes goes and comes back whole`, async () => {
        assert.equal(await echo('echo.shop', 7, bytes), 'same');
      });

    async function echo(host: string, port: number, bytes: number): Promise<string> {
      const argv = [process.execPath, ECHO_CLIENT, host, String(port), String(bytes)];
      return (await laptop.run(argv)).stdout.trim();
    }

    test('fragments pass in both directions', async () => {
      const argv = ['ping', '-n', '-c', '2', '-i', '0.2', '-W', '2', '-s', '8000', pods[0]?.address ?? ''];
      assert.match((await laptop.run(argv)).stdout, / 0% packet loss/);
    });

    test('the interface has the pod network’s MTU; a packet beyond it is refused with that MTU', async () => {
      const { interface: own } = await status(laptop);
      const inPod = await cluster.kubectl([
        'exec', '-n', 'shop', pods[0]?.name ?? '', '--', 'cat', '/sys/class/net/eth0/mtu',
      ]); // prettier-ignore
      assert.equal(own?.mtu, Number(inPod));
      const size = String(Number(inPod) - 28 + 1);
      const argv = ['ping', '-n', '-c', '1', '-W', '2', '-M', 'do', '-s', size, pods[0]?.address ?? ''];
      const { stdout, stderr } = await laptop.run(argv, { okCodes: [1, 2] });
      assert.match(stdout + stderr, new RegExp(`message too long, mtu[:=] ?${Number(inPod)}`));
    });

    test('a narrower path behind the manager is told by ICMP, and TCP takes it', async () => {
      const near = await field(cluster, `pod ${MANAGER.pod} -n ${MANAGER.namespace}`, '{.spec.nodeName}');
      const { node, address } = pods.find((pod) => pod.node !== near) ?? NOBODY; // a node's own pods share a bridge
      const narrow = [address, 'dev', await deviceTo(node, address), 'mtu', 'lock', '1300'];
      await cluster.onNode(node, ['ip', 'route', 'add', ...narrow]);
      try {
        const argv = ['ping', '-n', '-c', '1', '-W', '2', '-M', 'do', '-s', '1400', address];
        const { stdout } = await laptop.run(argv, { okCodes: [1] });
        assert.match(stdout, /Frag needed and DF set \(mtu = 1300\)/);
        assert.match((await laptop.run(['ip', 'route', 'get', address])).stdout, /mtu 1300/);
        assert.match(await upload(`http://${address}:8080/sink`, await randomFile(MIB)), /^1048576 /);
      } finally {
        await cluster.onNode(node, ['ip', 'route', 'del', ...narrow]);
      }
    });

    async function deviceTo(node: string, address: string): Promise<string> {
      const { stdout } = await cluster.onNode(node, ['ip', 'route', 'get', address]);
      return / dev (\S+)/.exec(stdout)?.[1] ?? '';
    }

    test('a large download and a large upload at the same time arrive byte for byte', async () => {
      const file = await randomFile(TRANSFER_BYTES);
      const fetched = path.join(folder, 'fetched');
      const [received] = await Promise.all([
        upload('http://web.shop/sink', file),
        laptop.run(
          ['curl', '-sS', '--max-time', '60', '-o', fetched, `http://web.shop/bytes?count=${TRANSFER_BYTES}`],
          { timeoutMs: 60_000 },
        ),
      ]);
      assert.equal(received, `${TRANSFER_BYTES} ${digest(await readFile(file))}`);
      assert.equal(digest(await readFile(fetched)), digest(patternOf(TRANSFER_BYTES)));
    });

    async function randomFile(bytes: number): Promise<string> {
      const file = path.join(folder, `random-${bytes}`);
      await writeFile(file, randomBytes(bytes));
      return file;
    }

    async function upload(url: string, file: string): Promise<string> {
      const argv = ['curl', '-sS', '--max-time', '60', '-T', file, url];
      return (await laptop.run(argv, { timeoutMs: 60_000 })).stdout.trim();
    }

    test('a closed port of a pod is refused at once', async () => {
      await refused(`http://${pods[0]?.address}:9`);
    });

    test('a Service without endpoints fails at once', async () => {
      await refused('http://empty.shop');
    });

    async function refused(url: string): Promise<void> {
      const argv = ['curl', '-sS', '--max-time', '10', '-o', '/dev/null', '-w', '%{time_total}', url];
      const { stdout, stderr } = await laptop.run(argv, { okCodes: [7], timeoutMs: 15_000 });
      assert.match(stderr, /\(7\)/);
      assert.ok(Number(stdout) * 1000 < AT_ONCE_MS, `${url}: ${stdout} s`);
    }

    test('a dead pod’s address answers neither ping nor a connection', async () => {
      const dead = await deadAddress();
      await until('its end on its node', () => isDead(dead), SOON);
      const pinged = await laptop.run(['ping', '-n', '-c', '2', '-i', '0.2', '-W', '1', dead], {
        okCodes: [1],
      });
      assert.match(pinged.stdout, /100% packet loss/);
      const argv = ['curl', '-sS', '--max-time', '2', `http://${dead}:8080`];
      await laptop.run(argv, { okCodes: [7, 28] });
    });

    async function isDead(address: string): Promise<boolean> {
      const argv = ['ping', '-n', '-c', '1', '-W', '1', address];
      return (await cluster.onNode(NOBODY.node, argv, { okCodes: [0, 1] })).exitCode === 1;
    }

    /** The address of a pod that is gone. */
    async function deadAddress(): Promise<string> {
      const spec = { containers: [{ name: 'gone', image: 'cz.test/workload:1', imagePullPolicy: 'Never', command: ['/bin/workload', 'pause'] }], terminationGracePeriodSeconds: 0 }; // prettier-ignore
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'net-gone', namespace: 'shop' }, spec };
      await cluster.kubectl(['create', '-f', '-'], JSON.stringify(pod));
      try {
        const look = async () =>
          (await field(cluster, 'pod net-gone -n shop', '{.status.podIP}')) || undefined;
        const address = await until('the pod’s address', look, { timeoutMs: 30_000 });
        assert.match(
          (await laptop.run(['ping', '-n', '-c', '1', '-W', '5', address])).stdout,
          / 0% packet loss/,
        );
        return address;
      } finally {
        await cluster.kubectl(['delete', 'pod', 'net-gone', '-n', 'shop', '--force', '--wait=true']);
      }
    }

    test('redis-cli: by the headless name of each pod, by the Service, and a long MONITOR', async () => {
      for (const host of ['db-0.db.shop', 'db-1.db.shop', 'db.shop', 'redis.shop'])
        assert.deepEqual([host, await redis(host, 'ping')], [host, 'PONG']);
      const monitor = laptop.spawn(['redis-cli', '-h', 'redis.shop', 'monitor'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let seen = '';
      monitor.stdout?.on('data', (chunk: Buffer) => (seen += chunk.toString()));
      try {
        await until('the monitor', () => seen.includes('OK'), SOON);
        for (const value of ['one', 'two', 'three']) await redis('db-0.db.shop', 'set', 'cz-net', value);
        await until('the last command', () => seen.includes('"three"'), SOON);
        assert.deepEqual(
          [...seen.matchAll(/"cz-net" "(\w+)"/g)].map((match) => match[1]),
          ['one', 'two', 'three'],
        );
        await redis('redis.shop', 'del', 'cz-net');
      } finally {
        monitor.kill();
        await once(monitor, 'exit');
      }
    });

    async function redis(host: string, ...words: string[]): Promise<string> {
      return (await laptop.run(['redis-cli', '-h', host, ...words])).stdout.trim();
    }

    test('a response that trickles in over seconds arrives line by line', async () => {
      const lines = await get('http://web.shop/stream?count=30&every=100ms');
      assert.deepEqual(
        lines.split('\n'),
        Array.from({ length: 30 }, (_, line) => String(line)),
      );
    });

    test('iperf3: TCP in both directions, UDP without loss at 20 Mbit/s', async () => {
      const up = await iperf('-t', '1');
      const down = await iperf('-t', '1', '-R');
      for (const { end } of [up, down]) assert.ok((end.sum_received?.bytes ?? 0) > 10 * MIB);
      const { end } = await iperf('-u', '-b', '20M', '-l', '1200', '-t', '2');
      assert.ok((end.sum?.packets ?? 0) > 3000);
      assert.ok((end.sum?.lost_percent ?? 100) < 0.5, `${end.sum?.lost_percent} % lost`);
    });

    interface Iperf {
      readonly end: {
        readonly sum_received?: { readonly bytes: number };
        readonly sum?: { readonly packets: number; readonly lost_percent: number };
      };
    }

    async function iperf(...options: string[]): Promise<Iperf> {
      const argv = ['iperf3', '-c', 'iperf3.shop', '-J', '--connect-timeout', '3000', ...options];
      const report: Iperf = JSON.parse((await laptop.run(argv, { timeoutMs: 20_000 })).stdout);
      return report;
    }

    test('a network that appears while connected gets its route, its Services answer, and it goes again', async () => {
      const apply = (what: object) => cluster.kubectl(['apply', '-f', '-'], JSON.stringify(what));
      const hasRoute = async () =>
        (await laptop.run(['ip', 'route'])).stdout.includes('10.97.0.0/24 dev cz0');
      const range = { apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name: 'net-more' }, spec: { cidrs: ['10.97.0.0/24'] } }; // prettier-ignore
      const service = {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'net-far', namespace: 'shop' },
        spec: {
          clusterIP: '10.97.0.10',
          selector: { app: 'web' },
          ports: [{ port: 80, targetPort: 'http' }],
        },
      };
      assert.equal(await hasRoute(), false);
      try {
        await apply(range);
        await until('the route', hasRoute, SOON);
        assert.ok((await status(laptop)).routes.includes('10.97.0.0/24'));
        await until('the Service’s address', () => apply(service), SOON);
        await until('an answer', async () => (await get('http://net-far.shop')).startsWith('web-'), SOON);
      } finally {
        await cluster.kubectl(['delete', 'service', 'net-far', '-n', 'shop', '--ignore-not-found']);
        await cluster.kubectl(['delete', 'servicecidr', 'net-more', '--ignore-not-found']);
      }
      await until('the route’s end', async () => !(await hasRoute()), SOON);
    });

    test('nothing from a pod or a node opens a connection into the laptop', async () => {
      const listener = await listening(laptop);
      try {
        const address = await sessionAddress(laptop);
        assert.equal(await get(`http://${address}:${listener.port}`), 'reached');
        const manager = await field(
          cluster,
          `pod ${MANAGER.pod} -n ${MANAGER.namespace}`,
          '{.status.podIP} {.spec.nodeName}',
        );
        const [podAddress = '', node = ''] = manager.split(' ');
        await cluster.onNode(node, ['ip', 'route', 'add', address, 'via', podAddress]);
        try {
          const url = `http://${address}:${listener.port}`;
          const argv = ['curl', '-sS', '--max-time', '2', url];
          const fromNode = await cluster.onNode(node, argv, { okCodes: [7, 28] });
          assert.equal(fromNode.stdout, '');
          for (const { name } of pods)
            await assert.rejects(
              cluster.kubectl(['exec', '-n', 'shop', name, '--', 'wget', '-T', '2', '-qO-', url]),
            );
          const pinged = await cluster.onNode(
            node,
            ['ping', '-n', '-c', '2', '-i', '0.2', '-W', '1', address],
            { okCodes: [1] },
          );
          assert.match(pinged.stdout, /100% packet loss/);
        } finally {
          await cluster.onNode(node, ['ip', 'route', 'del', address]);
        }
      } finally {
        await listener.close();
      }
    });

    test('two laptops at once both reach the cluster and do not see each other', async () => {
      await connected(second, '-n', 'shop');
      assert.match((await second.run(['curl', '-sS', '--max-time', '10', 'http://web'])).stdout, /^web-/);
      assert.match(await get('http://web'), /^web-/);
      const pairs = [[laptop, second], [second, laptop]] as const; // prettier-ignore
      for (const [from, to] of pairs) {
        const listener = await listening(to);
        const address = await sessionAddress(to);
        await from.run(['ip', 'route', 'add', address, 'dev', 'cz0']);
        try {
          const url = `http://${address}:${listener.port}`;
          assert.equal(
            (await from.run(['curl', '-s', '--max-time', '2', url], { okCodes: [7, 28] })).stdout,
            '',
          );
          const ping = ['ping', '-n', '-c', '2', '-i', '0.2', '-W', '1', address];
          assert.match((await from.run(ping, { okCodes: [1] })).stdout, /100% packet loss/);
        } finally {
          await from.run(['ip', 'route', 'del', address, 'dev', 'cz0']);
          await listener.close();
        }
      }
    });
  },
);

interface Pod {
  readonly name: string;
  readonly node: string;
  readonly address: string;
}

const NOBODY: Pod = { name: '', node: NODES[0]?.name ?? '', address: '' };

/** Those of web, in the order of their nodes. */
async function webPods(): Promise<Pod[]> {
  const line = '{range .items[*]}{.spec.nodeName} {.metadata.name} {.status.podIP}{"\\n"}{end}';
  const lines = (await field(cluster, 'pods -n shop -l app=web', line)).trim().split('\n').sort();
  return lines.map((text) => {
    const [node = '', name = '', address = ''] = text.split(' ');
    return { name, node, address };
  });
}

async function sessionAddress(laptop: SuiteLaptop): Promise<string> {
  return (await status(laptop)).interface?.addresses[0]?.replace('/32', '') ?? '';
}

/** A web server on every address of the laptop. */
async function listening(laptop: SuiteLaptop): Promise<{ port: string; close(): Promise<void> }> {
  const script =
    "require('node:http').createServer((q, r) => r.end('reached')).listen(0, function () { console.log(this.address().port) })";
  const child = laptop.spawn([process.execPath, '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const [port]: unknown[] = child.stdout === null ? [] : await once(child.stdout, 'data');
  return {
    port: String(port).trim(),
    async close() {
      child.kill();
      await ended;
    },
  };
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What the web workload sends: the byte at offset k is k % 251. */
function patternOf(bytes: number): Buffer {
  const period = Buffer.from(Array.from({ length: 251 }, (_, at) => at));
  return Buffer.alloc(bytes, period);
}
