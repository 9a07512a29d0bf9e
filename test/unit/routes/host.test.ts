import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatAddress, formatCidr } from '../../../src/base/cidr.js';
import { parseHost } from '../../../src/routes/host.js';

/** What iproute2 6.1 prints, shortened. */
const ADDRESSES = [
  {
    ifname: 'tun7',
    addr_info: [{ family: 'inet', local: '10.8.0.6', address: '10.8.0.5', prefixlen: 32, scope: 'global' }],
  },
  { ifname: 'eth0', addr_info: [{ family: 'inet', local: '192.0.2.2', prefixlen: 24, label: 'eth0' }] },
  { ifname: 'down0', addr_info: [] },
];
const ROUTES = [
  { dst: 'default', gateway: '192.0.2.1', dev: 'eth0', flags: [] },
  {
    dst: '10.9.0.0/16',
    dev: 'v0',
    table: '52',
    protocol: '67',
    scope: 'link',
    metric: 50,
    flags: ['linkdown'],
  },
  { type: 'throw', dst: '10.10.0.0/16', table: '52', flags: [] },
  { type: 'blackhole', dst: '10.7.0.0/16', flags: [] },
  {
    dst: '10.8.0.0/16',
    flags: [],
    nexthops: [
      { gateway: '10.1.0.2', dev: 'v0', weight: 1 },
      { gateway: '10.1.0.3', dev: 'v1', weight: 1 },
    ],
  },
  { type: 'local', dst: '192.0.2.2', dev: 'eth0', table: 'local' },
];
const RULES = [
  { priority: 0, src: 'all', table: 'local' },
  { priority: 10, src: '10.1.0.0', srclen: 24, iif: 'v0', action: 'unreachable' },
  { priority: 11, src: 'all', fwmark: '0x80000', fwmask: '0xff0000', table: '52' },
  { priority: 12, src: 'all', table: 'main', suppress_prefixlen: 0 },
  { priority: 13, not: null, src: 'all', fwmark: '0xca6c', table: '51820' },
  { priority: 14, src: 'all', dst: '10.96.0.0', dstlen: 12, table: 'main', protocol: '67' },
  { priority: 15, src: 'all', iif: 'lo', table: '99' },
  { priority: 16, src: 'all', iif: 'docker0', table: '99' },
];

test('addresses are read with the network they lie in, a peer’s where there is one', () => {
  const { addresses } = parseHost(ADDRESSES, [], []);
  assert.deepEqual(
    addresses.map((own) => `${own.interfaceName} ${formatAddress(own.address)} ${formatCidr(own.network)}`),
    ['tun7 10.8.0.6 10.8.0.5/32', 'eth0 192.0.2.2 192.0.2.0/24'],
  );
});

test('routes of all tables and kinds are read, with every gateway', () => {
  const { routes } = parseHost([], ROUTES, []);
  assert.deepEqual(
    routes.map(({ network, table, kind, interfaceName, gateways }) =>
      [formatCidr(network), table, kind, interfaceName, ...gateways.map(formatAddress)].join(' '),
    ),
    [
      '0.0.0.0/0 main unicast eth0 192.0.2.1',
      '10.9.0.0/16 52 unicast v0',
      '10.10.0.0/16 52 throw ',
      '10.7.0.0/16 main blackhole ',
      '10.8.0.0/16 main unicast v0 10.1.0.2 10.1.0.3',
      '192.0.2.2/32 local local eth0',
    ],
  );
});

test('rules that a plain connect does not meet are told apart', () => {
  const { rules } = parseHost([], [], RULES);
  assert.deepEqual(
    rules.map(({ priority, conditional, own }) => [priority, conditional, own]),
    [
      [0, false, false],
      [10, true, false],
      [11, true, false],
      [12, false, false],
      [13, false, false],
      [14, false, true],
      [15, false, false],
      [16, true, false],
    ],
  );
});

test('whatever a program called "ip" prints is read or refused, never taken for something else', () => {
  const entries = fc.array(
    fc.dictionary(
      fc.constantFrom('ifname', 'addr_info', 'dst', 'dev', 'table', 'gateway', 'nexthops', 'src'),
      fc.jsonValue(),
    ),
  );
  fc.assert(
    fc.property(entries, entries, entries, (addresses, routes, rules) => {
      const host = parseHost(addresses, routes, rules);
      return [...host.addresses, ...host.routes].every(
        ({ network }) => network.prefix >= 0 && network.prefix <= 32,
      );
    }),
    { numRuns: 200 },
  );
  assert.throws(() => parseHost({}, [], []), { code: 'IP_FAILED' });
});
