/**
 * The cluster's networks against the laptop's own, on the tests' own cluster: refused before anything is changed, named
 * with both ways out, and both work; `--never-route` and `--also-route` by network and by host name.
 */
import assert from 'node:assert/strict';
import { afterEach, before, describe, test } from 'node:test';
import { openCluster } from '../harness/cluster.js';
import { API_ADDRESS, BESIDE_ADDRESS, NETWORKS, NODES, ROUTER_ADDRESS } from '../harness/settings.js';
import { until } from '../harness/until.js';
import {
  assertAsBefore,
  connected,
  cz,
  disconnected,
  ensureManager,
  field,
  laptopState,
  status,
  testLaptop,
} from './support.js';

const SOON = { timeoutMs: 10_000, everyMs: 50 };

interface Case {
  readonly what: string;
  readonly make: readonly string[];
  readonly takeAway: readonly string[];
  /** What the refusal must name, and what its hint offers. */
  readonly named: readonly string[];
  readonly regions: readonly string[];
}

const CASES: readonly Case[] = [
  {
    what: 'an address of the laptop’s LAN',
    make: ['ip address add 10.96.200.1/24 dev eth0'],
    takeAway: ['ip address del 10.96.200.1/24 dev eth0'],
    named: [`"${NETWORKS.services}"`, '"10.96.200.0/24"', '"eth0"'],
    regions: ['10.96.200.0/24'],
  },
  {
    what: 'a container bridge',
    make: [
      'ip link add docker9 type bridge',
      'ip address add 10.244.1.129/25 dev docker9',
      'ip link set docker9 up',
    ],
    takeAway: ['ip link del docker9'],
    named: ['"10.244.1.0/24"', '"10.244.1.128/25"', '"docker9"'],
    regions: ['10.244.1.128/25'],
  },
  {
    what: 'a route of a VPN',
    make: [`ip route add 10.0.0.0/8 via ${ROUTER_ADDRESS}`],
    takeAway: [`ip route del 10.0.0.0/8 via ${ROUTER_ADDRESS}`],
    named: [`"${NETWORKS.services}"`, '"10.0.0.0/8"', '"eth0"'],
    regions: [NETWORKS.services, ...NODES.map((node) => node.podCidr)],
  },
  {
    what: 'a route in a table of its own, asked before the main one',
    make: [`ip route add 10.96.0.0/17 via ${ROUTER_ADDRESS} table 77`, 'ip rule add pref 100 table 77'],
    takeAway: ['ip rule del pref 100 table 77', 'ip route flush table 77'],
    named: [`"${NETWORKS.services}"`, '"10.96.0.0/17"', '"eth0"'],
    regions: ['10.96.0.0/17'],
  },
];

const cluster = await openCluster();
const laptop = await testLaptop(cluster, 'net-overlap');

async function all(lines: readonly string[]): Promise<void> {
  for (const line of lines) await laptop.run(line.split(' '));
}

async function wayTo(address: string): Promise<string> {
  const { stdout, stderr } = await laptop.run(['ip', 'route', 'get', address], { okCodes: [0, 2] });
  return / dev (\S+)/.exec(stdout)?.[1] ?? stderr.trim();
}

async function webPodOnNode2(): Promise<string> {
  const path = '{.items[?(@.spec.nodeName=="node2")].status.podIP}';
  return field(cluster, 'pods -n shop -l app=web', path);
}

async function reaches(url: string): Promise<boolean> {
  const argv = ['curl', '-sS', '-o', '/dev/null', '--max-time', '3', url];
  return (await laptop.run(argv, { okCodes: [0, 6, 7, 28] })).exitCode === 0;
}

describe('networks that meet', { skip: cluster.own ? false : 'needs the tests’ own cluster' }, () => {
  before(() => ensureManager(cluster), { timeout: 200_000 });
  afterEach(() => disconnected(laptop));

  for (const { what, make, takeAway, named, regions } of CASES)
    describe(what, () => {
      const [region = ''] = regions;
      const flags = (flag: string) => regions.flatMap((one) => [flag, one]);
      const around = async (work: () => Promise<void>) => {
        await all(make);
        try {
          await work();
        } finally {
          await disconnected(laptop);
          await all(takeAway);
        }
      };

      test('is refused, named with both ways out, and nothing was changed', () =>
        around(async () => {
          const before = await laptopState(laptop);
          const { exitCode, stderr } = await cz(laptop, ['connect', '-n', 'shop']);
          assert.equal(exitCode, 6, stderr);
          const [error = '', hint = ''] = ['error', 'hint'].map(
            (word) => new RegExp(`^cz: ${word}: (.*)$`, 'm').exec(stderr)?.[1],
          );
          for (const word of named) assert.ok(error.includes(word), error);
          for (const flag of ['--never-route', '--also-route'])
            assert.ok(hint.includes(`"${flags(flag).join(' ')}"`), hint);
          await assertAsBefore(laptop, before);
        }));

      test('--never-route leaves it to the laptop, and the rest of the cluster works', () =>
        around(async () => {
          const before = await laptopState(laptop);
          const mine = region.replace(/\.\d+\/\d+$/, '.130');
          const way = await wayTo(mine);
          const { routes } = await connected(laptop, '-n', 'shop', ...flags('--never-route'));
          assert.ok(!routes.includes(region));
          assert.equal(await wayTo(mine), way);
          const pod = await webPodOnNode2();
          if ((await wayTo(pod)) === 'cz0') assert.ok(await reaches(`http://${pod}:8080`));
          const name = await laptop.run(['getent', 'hosts', 'web.shop']);
          assert.match(name.stdout, /^10\.96\./);
          await disconnected(laptop);
          await assertAsBefore(laptop, before);
        }));

      test('--also-route gives it to the cluster, and disconnect gives it back', () =>
        around(async () => {
          const before = await laptopState(laptop);
          const theirs = region.replace(/\.\d+\/\d+$/, '.131');
          const way = await wayTo(theirs);
          await connected(laptop, '-n', 'shop', ...flags('--also-route'));
          assert.equal(await wayTo(theirs), 'cz0');
          assert.ok(await reaches('http://web.shop'));
          await disconnected(laptop);
          assert.equal(await wayTo(theirs), way);
          await assertAsBefore(laptop, before);
        }));
    });

  test('on a connected laptop such a wish is refused as well, and the connection stays as it was', async () => {
    const first = await connected(laptop, '-n', 'shop', '--never-route', '10.96.200.0/24');
    await all(['ip address add 10.96.200.1/24 dev eth0']);
    try {
      const before = await laptopState(laptop);
      const { exitCode, stderr } = await cz(laptop, ['connect', '-n', 'shop']);
      assert.equal(exitCode, 6, stderr);
      assert.match(stderr, /"10\.96\.200\.0\/24" of interface "eth0"/);
      await assertAsBefore(laptop, before);
      assert.deepEqual((await status(laptop)).routes, first.routes);
    } finally {
      await all(['ip address del 10.96.200.1/24 dev eth0']);
    }
  });

  test('a network that appears while connected goes to the laptop, and comes back when it is gone', async () => {
    await connected(laptop, '-n', 'shop');
    const address = '10.244.2.200';
    assert.equal(await wayTo(address), 'cz0');
    await all([
      'ip link add br9 type bridge',
      'ip address add 10.244.2.129/25 dev br9',
      'ip link set br9 up',
    ]);
    try {
      await until('the laptop’s own way', async () => (await wayTo(address)) === 'br9', SOON);
      assert.ok(await reaches('http://web.shop'));
    } finally {
      await all(['ip link del br9']);
    }
    await until('the way back', async () => (await wayTo(address)) === 'cz0', SOON);
    assert.equal((await status(laptop)).state, 'connected');
  });
});

describe(
  '--also-route and --never-route',
  { skip: cluster.own ? false : 'needs the tests’ own cluster' },
  () => {
    before(() => ensureManager(cluster), { timeout: 200_000 });
    afterEach(() => disconnected(laptop));

    test('a host beside the cluster is reached by --also-route alone', async () => {
      await connected(laptop);
      assert.equal(await reaches(`http://${BESIDE_ADDRESS}`), false);
      await connected(laptop, '--also-route', BESIDE_ADDRESS);
      assert.equal(await wayTo(BESIDE_ADDRESS), 'cz0');
      assert.ok(await reaches(`http://${BESIDE_ADDRESS}`));
      await connected(laptop);
      assert.notEqual(await wayTo(BESIDE_ADDRESS), 'cz0');
    });

    test('--also-route and --never-route by host name', async () => {
      const [pod = ''] = (await field(cluster, 'pods -n shop -l app=web', '{.items[*].status.podIP}')).split(
        ' ',
      );
      const hosts = `${BESIDE_ADDRESS} beside.test\n${pod} mine.test\n`;
      await laptop.run(['sh', '-c', 'cp /etc/hosts /etc/hosts.net; cat >> /etc/hosts'], { input: hosts });
      try {
        const { routes } = await connected(
          laptop,
          '--also-route',
          'beside.test',
          '--never-route',
          'mine.test',
        );
        assert.ok(routes.includes(`${BESIDE_ADDRESS}/32`));
        assert.ok(await reaches('http://beside.test'));
        assert.notEqual(await wayTo(pod), 'cz0');
        assert.equal(await wayTo('10.244.1.254'), 'cz0');
      } finally {
        await laptop.run(['mv', '/etc/hosts.net', '/etc/hosts']);
      }
    });

    test('a host name that nobody knows is a usage error, and nothing is changed', async () => {
      const before = await laptopState(laptop);
      const { exitCode, stderr } = await cz(laptop, ['connect', '--also-route', 'missing.outside.test']);
      assert.equal(exitCode, 2, stderr);
      assert.match(stderr, /^cz: error: .*--also-route "missing\.outside\.test"/m);
      await assertAsBefore(laptop, before);
    });

    test('what the manager does not permit is refused at once by it, not silently dropped', async () => {
      const [node] = NODES;
      await connected(laptop, '--also-route', node?.address ?? '', '--also-route', '192.0.2.0/24');
      for (const address of [node?.address ?? '', '192.0.2.7']) {
        assert.equal(await wayTo(address), 'cz0');
        const argv = ['ping', '-n', '-c', '1', '-W', '2', address];
        const { stdout } = await laptop.run(argv, { okCodes: [1] });
        assert.match(stdout, /Packet filtered/);
      }
    });

    test('the API server and the way to it stay outside, whatever is asked for', async () => {
      const way = await wayTo(API_ADDRESS);
      await connected(laptop, '--also-route', '203.0.113.0/24', '-n', 'shop');
      assert.equal(await wayTo(API_ADDRESS), way);
      assert.equal((await status(laptop)).state, 'connected');
      assert.ok(await reaches('http://web'));
      const { exitCode, stderr } = await cz(laptop, ['connect', '--also-route', '0.0.0.0/0']);
      assert.equal(exitCode, 2, stderr);
    });
  },
);
