import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cidr } from '../../../src/base/cidr.js';
import { CzError, hasCode } from '../../../src/base/errors.js';
import { chain } from '../../../src/dns/choose.js';
import type { OsResolver, ResolverTarget } from '../../../src/dns/os-resolver.js';
import { formatResolvConf, parseResolvConf } from '../../../src/dns/resolv-conf-text.js';
import { planResolved } from '../../../src/dns/resolved.js';
import { planTarget, reverseZones } from '../../../src/dns/target.js';

const target: ResolverTarget = {
  server: '198.18.255.53',
  interfaceName: 'cz0',
  searchDomains: ['shop.svc.cluster.local'],
  routedDomains: ['cluster.local', 'shop'],
};

const files: readonly [string, string, string[], string[]][] = [
  [
    'servers and a search list',
    'nameserver 192.0.2.1\nsearch a.example b.example.\n',
    ['192.0.2.1'],
    ['a.example', 'b.example'],
  ],
  ['the last of search and domain', 'search a.example\ndomain b.example\n', ['127.0.0.1'], ['b.example']],
  [
    'comments, tabs, nonsense',
    '#nameserver 1.1.1.1\n;x\nnameserver\t192.0.2.1 # x\nnameserver abc\n',
    ['192.0.2.1'],
    [],
  ],
  ['IPv6 with a zone', 'nameserver fe80::1%eth0\n', ['fe80::1%eth0'], []],
  ['three servers of four', 'nameserver 1.1.1.1\n'.repeat(4), ['1.1.1.1', '1.1.1.1', '1.1.1.1'], []],
  ['nothing', '', ['127.0.0.1'], []],
];
for (const [what, text, servers, search] of files) {
  test(`resolv.conf: ${what}`, () => {
    const parsed = parseResolvConf(text);
    assert.deepEqual([parsed.servers, parsed.search], [servers, search]);
  });
}

test('our resolv.conf names cz alone and keeps the laptop’s search list and options', () => {
  const before = parseResolvConf('nameserver 192.0.2.1\nsearch a.example\noptions timeout:1\n');
  const text = formatResolvConf(target, before, 'umount /etc/resolv.conf');
  assert.deepEqual(text.split('\n').slice(1), [
    '# By hand: umount /etc/resolv.conf',
    'nameserver 198.18.255.53',
    'search shop.svc.cluster.local a.example',
    'options timeout:1',
    '',
  ]);
});

test('search domains of ours give way where old resolvers would lose the laptop’s', () => {
  const own = ['a', 'b', 'c', 'd', 'e'].map((label) => `${label}.example`);
  const many = { ...target, searchDomains: ['x.svc.cluster.local', 'y.svc.cluster.local'] };
  const six = formatResolvConf(many, { servers: [], search: own, kept: [] }, '');
  assert.match(
    six,
    /^search x\.svc\.cluster\.local a\.example b\.example c\.example d\.example e\.example$/m,
  );
  const long = [`${'l'.repeat(60)}.${'m'.repeat(60)}.${'n'.repeat(60)}.${'o'.repeat(60)}.example`];
  assert.match(
    formatResolvConf(many, { servers: [], search: long, kept: [] }, ''),
    /^search l+\.m+\.n+\.o+\.example$/m,
  );
});

test('systemd-resolved is told by these commands, and again only of what differs', () => {
  assert.deepEqual(
    planResolved(target).map((argv) => argv.join(' ')),
    [
      'resolvectl dns cz0 198.18.255.53',
      'resolvectl default-route cz0 no',
      'resolvectl llmnr cz0 no',
      'resolvectl mdns cz0 no',
      'resolvectl dnssec cz0 no',
      'resolvectl dnsovertls cz0 no',
      'resolvectl domain cz0 shop.svc.cluster.local ~cluster.local ~shop',
    ],
  );
  assert.deepEqual(planResolved(target, target), []);
  const more = { ...target, routedDomains: ['cluster.local'] };
  assert.deepEqual(planResolved(more, target), [
    ['resolvectl', 'domain', 'cz0', 'shop.svc.cluster.local', '~cluster.local'],
  ]);
});

test('a link gets no more domains than systemd-resolved takes, the connected namespaces’ first', () => {
  const namespaces = Array.from({ length: 1000 }, (_, index) => `n${index}`);
  const policy = {
    clusterDomain: 'cluster.local',
    namespaces,
    connected: ['n999'],
    networks: [],
    laptopDomains: [],
  };
  const domains =
    planResolved(planTarget({ server: '198.18.255.53', interfaceName: 'cz0', policy }))
      .at(-1)
      ?.slice(3) ?? [];
  assert.ok(domains.length <= 256);
  assert.deepEqual(domains.slice(0, 4), ['n999.svc.cluster.local', '~cluster.local', '~svc', '~n999']);
});

test('what is no plain domain gets into no file and onto no command line', () => {
  const bad = ['x\nnameserver 192.0.2.66', '-x', '--help', 'a b', 'a;b', '~.', '', 'a..b', '$(x)'];
  const policy = {
    clusterDomain: 'cluster.local',
    namespaces: bad,
    connected: bad,
    networks: bad,
    laptopDomains: [],
  };
  const plan = planTarget({ server: '198.18.255.53', interfaceName: 'cz0', policy });
  assert.deepEqual([plan.searchDomains, plan.routedDomains], [[], ['cluster.local', 'svc']]);
  const evil = {
    ...policy,
    clusterDomain: 'x\nnameserver 192.0.2.66',
    connected: ['shop'],
    namespaces: ['shop'],
  };
  const worse = planTarget({ server: '198.18.255.53', interfaceName: 'cz0', policy: evil });
  assert.deepEqual([worse.searchDomains, worse.routedDomains], [[], ['svc', 'shop']]);
});

const zones: readonly [string, string[]][] = [
  ['10.96.0.0/16', ['96.10.in-addr.arpa']],
  ['10.0.0.0/8', ['10.in-addr.arpa']],
  ['10.244.4.0/24', ['4.244.10.in-addr.arpa']],
  ['10.244.4.0/23', ['4.244.10.in-addr.arpa', '5.244.10.in-addr.arpa']],
  ['10.244.4.16/28', ['4.244.10.in-addr.arpa']],
  ['10.96.0.0/15', ['96.10.in-addr.arpa', '97.10.in-addr.arpa']],
  ['200.0.0.0/7', ['200.in-addr.arpa', '201.in-addr.arpa']],
];
for (const [network, expected] of zones) {
  test(`the reverse zones of ${network}`, () => assert.deepEqual(reverseZones(cidr(network)), expected));
}

function mechanism(name: OsResolver['mechanism'], calls: string[], failing = false): OsResolver {
  return {
    mechanism: name,
    read: async () => ({ servers: [], search: [] }),
    async apply() {
      calls.push(`apply ${name}`);
      if (failing) throw new CzError('RESOLVER_FAILED', 'no');
    },
    watch: () => void calls.push(`watch ${name}`),
    async undo() {
      calls.push(`undo ${name}`);
    },
    close: () => undefined,
  };
}

test('a mechanism whose lookups do not arrive is rolled back, and the next one is tried', async () => {
  const calls: string[] = [];
  const chosen = chain([mechanism('systemd-resolved', calls), mechanism('resolv.conf', calls)]);
  let checks = 0;
  await chosen.apply(target, async () => {
    if (++checks === 1) throw new CzError('RESOLVER_UNUSED', 'none arrived');
  });
  await chosen.apply(target);
  assert.deepEqual(calls, [
    'apply systemd-resolved',
    'undo systemd-resolved',
    'apply resolv.conf',
    'apply resolv.conf',
  ]);
  assert.equal(chosen.mechanism, 'resolv.conf');
});

test('when none works the last one’s error is told and nothing is left changed', async () => {
  const calls: string[] = [];
  const chosen = chain([mechanism('systemd-resolved', calls, true), mechanism('resolv.conf', calls)]);
  const failing = async () => {
    throw new CzError('RESOLVER_UNUSED', 'none arrived');
  };
  await assert.rejects(chosen.apply(target, failing), (error) => hasCode(error, 'RESOLVER_UNUSED'));
  assert.deepEqual(calls, ['apply systemd-resolved', 'apply resolv.conf', 'undo resolv.conf']);
});
