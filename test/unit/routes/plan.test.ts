import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { cidr, formatAddress, formatCidr, holds, parseAddress } from '../../../src/base/cidr.js';
import { CzError } from '../../../src/base/errors.js';
import { planRoutes, type PlanOptions } from '../../../src/routes/plan.js';
import { docker, laptop } from './hosts.js';

const NONE = {
  networks: [],
  alsoRoute: [],
  neverRoute: [],
  protectedAddresses: [],
  host: laptop(),
  interfaceName: 'cz0',
} satisfies PlanOptions;

const CLUSTER = ['10.244.0.0/16', '10.96.0.0/12'];

interface Case {
  readonly name: string;
  readonly given: Partial<PlanOptions>;
  readonly routes: readonly string[];
}

const CASES: readonly Case[] = [
  {
    name: 'the cluster’s networks become routes',
    given: { networks: CLUSTER },
    routes: ['10.96.0.0/12', '10.244.0.0/16'],
  },
  {
    name: 'a network inside another gets no route of its own',
    given: { networks: ['10.244.0.0/16', '10.244.3.0/24', '10.244.0.0/16'] },
    routes: ['10.244.0.0/16'],
  },
  {
    name: 'what --never-route names stays outside',
    given: { networks: ['10.244.0.0/16'], neverRoute: ['10.244.128.0/17', '10.244.0.1'] },
    routes:
      '0.0/32 0.2/31 0.4/30 0.8/29 0.16/28 0.32/27 0.64/26 0.128/25 1.0/24 2.0/23 4.0/22 8.0/21 16.0/20 32.0/19 64.0/18'
        .split(' ')
        .map((rest) => `10.244.${rest}`),
  },
  {
    name: 'a longer --also-route wins over --never-route, and the other way round',
    given: {
      networks: ['10.244.0.0/16'],
      neverRoute: ['10.0.0.0/8', '10.60.0.0/24'],
      alsoRoute: ['10.244.7.0/24', '10.60.0.0/23'],
    },
    routes: ['10.60.1.0/24', '10.244.7.0/24'],
  },
  {
    name: 'the API server stays outside, also of what --also-route names',
    given: {
      networks: ['10.244.0.0/30'],
      alsoRoute: ['10.50.0.0/31'],
      protectedAddresses: ['10.244.0.1', '10.50.0.1'],
    },
    routes: ['10.50.0.0/32', '10.244.0.0/32', '10.244.0.2/31'],
  },
  {
    name: 'a gateway of the laptop’s stays outside',
    given: { alsoRoute: ['192.168.1.0/30'] },
    routes: ['192.168.1.0/32', '192.168.1.2/31'],
  },
  {
    name: 'what is no network for a tunnel is left out',
    given: {
      networks: [
        '0.0.0.0/0',
        '8.0.0.0/7',
        '127.0.0.0/8',
        '169.254.0.0/16',
        '224.0.0.0/24',
        '255.255.255.255',
        'fd00::/8',
        '',
        '10.1.0.0/16',
      ],
    },
    routes: ['10.1.0.0/16'],
  },
  {
    name: 'the cluster’s resolver gets a route, also on a node’s link-local address',
    given: { networks: ['10.96.0.0/12'], dnsServer: '169.254.20.10' },
    routes: ['10.96.0.0/12', '169.254.20.10/32'],
  },
  {
    name: 'the metadata service gets none, even as a resolver',
    given: { dnsServer: '169.254.169.254' },
    routes: [],
  },
  {
    name: 'routes on cz’s own interface are no overlap',
    given: { networks: CLUSTER, host: laptop({ routes: [{ dst: '10.96.0.0/12', dev: 'cz0' }] }) },
    routes: ['10.96.0.0/12', '10.244.0.0/16'],
  },
  {
    name: 'routes that stand for everything else are no overlap',
    given: {
      networks: ['10.96.0.0/12'],
      host: laptop({
        routes: ['0.0.0.0/1', '128.0.0.0/1', '8.0.0.0/7'].map((dst) => ({ dst, dev: 'tun7' })),
      }),
    },
    routes: ['10.96.0.0/12'],
  },
  {
    name: 'a host route to the API server inside a cluster network is no overlap',
    given: {
      networks: ['10.0.0.0/30'],
      protectedAddresses: ['10.0.0.2'],
      host: laptop({ routes: [{ dst: '10.0.0.2', gateway: '192.168.1.1', dev: 'wlan0' }] }),
    },
    routes: ['10.0.0.0/31', '10.0.0.3/32'],
  },
  {
    name: '--never-route leaves an overlap to the laptop',
    given: { networks: ['172.16.0.0/15'], host: docker, neverRoute: ['172.17.0.0/16'] },
    routes: ['172.16.0.0/16'],
  },
  {
    name: '--also-route gives an overlap to the cluster, by routes longer than the laptop’s',
    given: { networks: ['172.16.0.0/15'], host: docker, alsoRoute: ['172.17.0.0/16'] },
    routes: ['172.16.0.0/15', '172.17.0.0/17', '172.17.128.0/17'],
  },
  {
    name: 'an --also-route that equals a route of the laptop’s becomes its halves',
    given: { alsoRoute: ['172.17.0.0/16'], host: docker },
    routes: ['172.17.0.0/17', '172.17.128.0/17'],
  },
  {
    name: 'an --also-route around the laptop’s own network leaves that alone',
    given: { alsoRoute: ['172.16.0.0/12'], host: docker },
    routes: ['172.16.0.0/12'],
  },
  {
    name: 'inside a wide route of a VPN, --also-route gives the cluster its own network and no more',
    given: {
      networks: ['10.96.0.0/12'],
      alsoRoute: ['10.96.0.0/12'],
      host: laptop({ routes: [{ dst: '10.0.0.0/8', dev: 'wg0' }] }),
    },
    routes: ['10.96.0.0/12'],
  },
  {
    name: 'while connected, a network that the laptop joins stays the laptop’s',
    given: { networks: ['172.16.0.0/15'], host: docker, whenOverlapping: 'yield' },
    routes: ['172.16.0.0/16'],
  },
];

for (const { name, given, routes } of CASES)
  test(name, () => assert.deepEqual(planRoutes({ ...NONE, ...given }).routes, routes));

function overlapOf(given: Partial<PlanOptions>): CzError {
  try {
    planRoutes({ ...NONE, ...given });
  } catch (error) {
    if (error instanceof CzError) return error;
  }
  throw new Error('nothing was refused');
}

const OVERLAPS: readonly { name: string; given: Partial<PlanOptions>; message: string; region: string }[] = [
  {
    name: 'Docker’s bridge',
    given: { networks: ['172.16.0.0/12'], host: docker },
    message: '"172.16.0.0/12" and "172.17.0.0/16" of interface "docker0"',
    region: '172.17.0.0/16',
  },
  {
    name: 'the home network',
    given: { networks: ['192.168.0.0/16'] },
    message: '"192.168.0.0/16" and "192.168.1.0/24" of interface "wlan0"',
    region: '192.168.1.0/24',
  },
  {
    name: 'a VPN’s wide route',
    given: { networks: ['10.96.0.0/12'], host: laptop({ routes: [{ dst: '10.0.0.0/8', dev: 'wg0' }] }) },
    message: '"10.96.0.0/12" and "10.0.0.0/8" of interface "wg0"',
    region: '10.96.0.0/12',
  },
  {
    name: 'a single host behind a VPN',
    given: { networks: ['10.96.0.0/12'], host: laptop({ routes: [{ dst: '10.100.1.1', dev: 'wg0' }] }) },
    message: '"10.96.0.0/12" and "10.100.1.1/32" of interface "wg0"',
    region: '10.100.1.1/32',
  },
  {
    name: 'a route in a VPN’s table that a rule for unmarked packets asks',
    given: {
      networks: ['10.96.0.0/12'],
      host: laptop({
        routes: [{ dst: '10.100.0.0/16', dev: 'wg0', table: '51820' }],
        rules: [{ priority: 100, not: null, src: 'all', fwmark: '0xca6c', table: '51820' }],
      }),
    },
    message: '"10.96.0.0/12" and "10.100.0.0/16" of interface "wg0"',
    region: '10.100.0.0/16',
  },
  {
    name: 'a blackhole',
    given: {
      networks: ['10.96.0.0/12'],
      host: laptop({ routes: [{ dst: '10.100.0.0/16', type: 'blackhole' }] }),
    },
    message: '"10.96.0.0/12" and "10.100.0.0/16" of a route without interface',
    region: '10.100.0.0/16',
  },
];

for (const { name, given, message, region } of OVERLAPS)
  test(`an overlap is named with network, interface and both ways out: ${name}`, () => {
    const error = overlapOf(given);
    assert.equal(error.code, 'NETWORK_OVERLAP');
    assert.equal(error.message, `the cluster's networks overlap the laptop's: ${message}`);
    assert.equal(
      error.hint,
      `"--never-route ${region}" leaves it to the laptop, "--also-route ${region}" gives it to the cluster`,
    );
    // Either way out is one.
    for (const flag of ['neverRoute', 'alsoRoute']) planRoutes({ ...NONE, ...given, [flag]: [region] });
  });

test('a table that only marked packets ask is no overlap', () => {
  const host = laptop({
    routes: [{ dst: '10.100.0.0/16', dev: 'wg0', table: '52' }],
    rules: [{ priority: 100, src: 'all', fwmark: '0x1', table: '52' }],
  });
  assert.deepEqual(planRoutes({ ...NONE, networks: ['10.96.0.0/12'], host }).routes, ['10.96.0.0/12']);
});

test('an address that cannot be taken over is told', () => {
  const host = laptop({ routes: [{ dst: '10.100.1.1', dev: 'wg0' }] });
  const plan = planRoutes({ ...NONE, networks: ['10.96.0.0/12'], host, alsoRoute: ['10.100.1.1'] });
  assert.deepEqual(plan.skipped, [{ network: '10.100.1.1/32', reason: 'not-routable' }]);
  assert.ok(!plan.routes.includes('10.100.1.1/32'));
});

test('an exit node’s table before the main one gets a rule for each route, before its own', () => {
  const exitNode = (priority: number) =>
    laptop({
      routes: [{ dst: 'default', dev: 'tailscale0', table: '52' }],
      rules: [
        { priority: priority - 1, src: 'all', fwmark: '0x80000', fwmask: '0xff0000', table: 'main' },
        { priority, src: 'all', table: '52' },
      ],
    });
  const rules = (priority: number) =>
    planRoutes({ ...NONE, networks: ['10.96.0.0/12'], host: exitNode(priority) }).rules;
  assert.deepEqual(rules(5270), [{ to: '10.96.0.0/12', priority: 5000 }]);
  assert.deepEqual(rules(200), [{ to: '10.96.0.0/12', priority: 199 }]);
});

test('WireGuard’s rules, which ask the main table first for all but the default route, need none of ours', () => {
  const host = laptop({
    routes: [{ dst: 'default', dev: 'wg0', table: '51820' }],
    rules: [
      { priority: 32764, src: 'all', table: 'main', suppress_prefixlen: 0 },
      { priority: 32765, not: null, src: 'all', fwmark: '0xca6c', table: '51820' },
    ],
  });
  assert.deepEqual(planRoutes({ ...NONE, networks: ['10.96.0.0/12'], host }).rules, []);
});

test('flags that no tunnel may take are a usage error', () => {
  for (const text of [
    '0.0.0.0/0',
    '8.0.0.0/7',
    '127.0.0.1',
    '169.254.169.254',
    '224.0.0.1',
    'db.example.test',
    '10.0.0.0/33',
  ])
    assert.throws(() => planRoutes({ ...NONE, alsoRoute: [text] }), { code: 'USAGE' }, text);
  assert.throws(() => planRoutes({ ...NONE, neverRoute: ['nonsense'] }), { code: 'USAGE' });
});

test('a manager that names too many networks is refused', () => {
  const networks = Array.from({ length: 7000 }, (_, at) => `10.${at >> 8}.${at & 255}.0/24`);
  assert.throws(() => planRoutes({ ...NONE, networks }), { code: 'NETWORKS_INVALID' });
});

/** Networks and addresses that meet often: all inside 10.0.0.0/12 and of a few lengths. */
const network = fc
  .tuple(fc.integer({ min: 0, max: 0xfffff }), fc.constantFrom(14, 16, 20, 24, 28, 32))
  .map(([host, prefix]) => formatCidr(cidr(`${formatAddress(10 * 2 ** 24 + host)}/${prefix}`)));
const addressText = fc.integer({ min: 0, max: 0xfffff }).map((host) => formatAddress(10 * 2 ** 24 + host));

test('an address is routed exactly if the cluster or the user names it, and nothing keeps it outside', () => {
  fc.assert(
    fc.property(
      fc.array(network, { maxLength: 5 }),
      fc.array(network, { maxLength: 3 }),
      fc.array(network, { maxLength: 3 }),
      fc.array(addressText, { maxLength: 3 }),
      fc.array(addressText, { minLength: 10, maxLength: 30 }),
      (networks, alsoRoute, neverRoute, protectedAddresses, probes) => {
        const plan = planRoutes({ ...NONE, networks, alsoRoute, neverRoute, protectedAddresses });
        const within = (list: readonly string[], address: number) =>
          list.filter((text) => holds(cidr(text), address));
        const longest = (list: readonly string[], address: number) =>
          Math.max(-1, ...within(list, address).map((text) => cidr(text).prefix));
        for (const text of [
          ...probes,
          ...protectedAddresses,
          ...networks.map((at) => at.split('/')[0] ?? ''),
        ]) {
          const address = parseAddress(text) ?? 0;
          const wanted =
            within(networks, address).length > 0 && within(neverRoute, address).length === 0
              ? true
              : within(alsoRoute, address).some(
                  (also) =>
                    !within(neverRoute, address).some((never) => cidr(never).prefix >= cidr(also).prefix),
                );
          const routed = wanted && !protectedAddresses.includes(text);
          assert.equal(longest(plan.routes, address) >= 0, routed, text);
        }
      },
    ),
    { numRuns: 300 },
  );
});
