import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cidr, overlaps } from '../../../src/base/cidr.js';
import { pickRanges } from '../../../src/routes/ranges.js';
import { laptop } from './hosts.js';

test('a plain laptop offers the benchmarking network first, and keeps its last /24 for the resolver', () => {
  const { sessionRanges, dnsAddress } = pickRanges(laptop());
  assert.deepEqual(sessionRanges.slice(0, 3), ['198.18.0.0/16', '198.19.0.0/17', '198.19.128.0/18']);
  assert.deepEqual(sessionRanges.slice(-3), ['203.0.113.0/24', '198.51.100.0/24', '192.0.2.0/24']);
  assert.equal(dnsAddress, '198.19.255.53');
});

const LAPTOPS = [
  { name: 'nothing', host: laptop() },
  { name: 'a proxy program on 198.18.0.0/16', host: laptop({ addresses: { utun: '198.18.0.1/16' } }) },
  {
    name: 'all of the benchmarking network',
    host: laptop({ routes: [{ dst: '198.18.0.0/15', dev: 'x0' }] }),
  },
  {
    name: 'a route of a table that only marked packets ask',
    host: laptop({ routes: [{ dst: '198.18.0.0/16', dev: 'x0', table: '77' }] }),
  },
  { name: 'a documentation network', host: laptop({ addresses: { eth0: '192.0.2.2/24' } }) },
  {
    name: 'single addresses',
    host: laptop({ routes: ['198.19.255.1', '198.18.0.1'].map((dst) => ({ dst, dev: 'x0' })) }),
  },
];

for (const { name, host } of LAPTOPS)
  test(`what the laptop uses is never offered, nor is the resolver's address: ${name}`, () => {
    const { sessionRanges, dnsAddress } = pickRanges(host);
    assert.ok(sessionRanges.length >= 2 && sessionRanges.length <= 16);
    const own = [...host.addresses, ...host.routes]
      .map(({ network }) => network)
      .filter(({ prefix }) => prefix > 0);
    for (const range of sessionRanges.map(cidr)) {
      assert.ok(!own.some((network) => overlaps(network, range)));
      assert.ok(!overlaps(cidr(dnsAddress), range));
      assert.ok(!overlaps(cidr('100.64.0.0/10'), range));
    }
    assert.ok(!own.some((network) => overlaps(network, cidr(dnsAddress))));
  });

test('what stands on cz’s own interface counts as free', () => {
  const host = laptop({
    addresses: { cz0: '198.19.255.53/32' },
    routes: [{ dst: '198.18.0.0/15', dev: 'cz0' }],
  });
  assert.equal(pickRanges(host, 'cz0').dnsAddress, '198.19.255.53');
});

test('a laptop that uses all of them is told so', () => {
  const all = ['198.18.0.0/15', '203.0.113.0/24', '198.51.100.0/24', '192.0.2.0/24'];
  const host = laptop({ routes: all.map((dst) => ({ dst, dev: 'x0' })) });
  assert.throws(() => pickRanges(host), { code: 'NO_FREE_RANGE' });
});
