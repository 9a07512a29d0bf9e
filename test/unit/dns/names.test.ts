import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { createNames, type NamePolicy } from '../../../src/dns/names.js';
import { formatName, lowerName, parseName } from '../../../src/dns/wire.js';

const policy: NamePolicy = {
  clusterDomain: 'cluster.local',
  namespaces: ['default', 'orders', 'billing', 'dev', 'corp'],
  connected: ['orders', 'billing'],
  networks: ['10.96.0.0/16', '10.244.0.0/24'],
  laptopDomains: ['corp', 'intra.example'],
};

/** `A web.orders` → who answers: `outside`, `negative`, or the full names, `!` behind them where the outside follows. */
function judge(name: string, type = 1, given: Partial<NamePolicy> = {}): string {
  const route = createNames({ ...policy, ...given }).classify(lowerName(parseName(name) ?? ''), type, 1);
  if (route.kind !== 'cluster') return route.kind;
  return (
    route.candidates.map((candidate) => formatName(candidate)).join(' ') +
    (route.otherwise === 'outside' ? ' !' : '')
  );
}

const table: readonly [string, string][] = [
  ['web.orders', 'web.orders.svc.cluster.local'],
  ['WEB.Orders.', 'web.orders.svc.cluster.local'],
  ['web.orders.svc', 'web.orders.svc.cluster.local'],
  ['web.orders.svc.cluster.local', 'web.orders.svc.cluster.local'],
  ['web.orders.svc.cluster.local.', 'web.orders.svc.cluster.local'],
  ['web.unknown.svc', 'web.unknown.svc.cluster.local'],
  ['pod-0.db.orders', 'pod-0.db.orders.svc.cluster.local'],
  ['pod-0.db.orders.svc', 'pod-0.db.orders.svc.cluster.local'],
  ['10-1-2-3.orders.pod', '10-1-2-3.orders.pod.cluster.local'],
  ['10-1-2-3.orders.pod.cluster.local', '10-1-2-3.orders.pod.cluster.local'],
  ['_http._tcp.web.orders', '_http._tcp.web.orders.svc.cluster.local'],
  ['cluster.local', 'cluster.local'],
  ['web', 'web.orders.svc.cluster.local web.billing.svc.cluster.local !'],
  ['orders', 'orders.orders.svc.cluster.local orders.billing.svc.cluster.local !'],
  ['localhost', 'outside'],
  ['_x', 'outside'],
  ['.', 'outside'],
  ['www.example.com', 'outside'],
  ['web.mycluster.local', 'outside'],
  ['printer.local', 'outside'],
  // a namespace that is a public domain, or the laptop's: the cluster's where it has it
  ['web.dev', 'web.dev.svc.cluster.local !'],
  ['www.web.dev', 'www.web.dev.svc.cluster.local !'],
  ['a.b.web.dev', 'outside'],
  ['_http._tcp.web.dev', '_http._tcp.web.dev.svc.cluster.local !'],
  ['web.dev.svc', 'web.dev.svc.cluster.local'],
  ['wiki.corp', 'wiki.corp.svc.cluster.local !'],
  ['wiki.intra.example', 'outside'],
  // what search lists make of outside names does not travel
  ['www.example.com.orders.svc.cluster.local', 'negative'],
  ['a.b.c.d.e.orders.svc.cluster.local', 'negative'],
  // proxy discovery
  ['wpad', 'outside'],
  ['wpad.orders', 'negative'],
  ['wpad.orders.svc.cluster.local', 'negative'],
  ['wpad.dev', 'outside'],
  ['wpad.intra.example', 'outside'],
  // reverse lookups
  ['7.0.96.10.in-addr.arpa', '7.0.96.10.in-addr.arpa'],
  ['7.0.244.10.in-addr.arpa', '7.0.244.10.in-addr.arpa'],
  ['7.1.244.10.in-addr.arpa', 'outside'],
  ['7.0.168.192.in-addr.arpa', 'outside'],
  ['96.10.in-addr.arpa', 'outside'],
  ['07.0.96.10.in-addr.arpa', 'outside'],
  ['1.7.0.96.10.in-addr.arpa', 'outside'],
];
for (const [name, expected] of table) {
  test(`"${name}" is asked of: ${expected}`, () => assert.equal(judge(name), expected));
}

test('questions about zones of one label are never the cluster’s', () => {
  for (const type of [2, 6, 43, 48]) assert.equal(judge('dev', type), 'outside');
});

test('other classes than IN are the outside’s', () => {
  const route = createNames(policy).classify(parseName('web.orders') ?? '', 16, 3);
  assert.equal(route.kind, 'outside');
});

test('another cluster domain is followed, even below a domain of the laptop', () => {
  const given = { clusterDomain: 'k8s.intra.example' };
  assert.equal(judge('web.orders', 1, given), 'web.orders.svc.k8s.intra.example');
  assert.equal(judge('web.orders.svc.k8s.intra.example', 1, given), 'web.orders.svc.k8s.intra.example');
  assert.equal(judge('wiki.intra.example', 1, given), 'outside');
});

test('a cluster that claims the root, a public domain, or every address gets none of them', () => {
  for (const clusterDomain of ['.', '', 'com', 'local', 'a..b']) {
    assert.equal(judge('www.example.com', 1, { clusterDomain }), 'outside');
    assert.equal(judge('web.orders', 1, { clusterDomain }), 'web.orders.svc.cluster.local');
  }
  const networks = ['0.0.0.0/0', '::/0', 'nonsense'];
  assert.equal(judge('1.113.0.203.in-addr.arpa', 12, { networks }), 'outside');
});

test('bare names are the outside’s when no namespace is connected', () => {
  assert.equal(judge('web', 1, { connected: [] }), 'outside');
});

test('namespaces that share their name with a public or an own domain are told', () => {
  assert.deepEqual([...createNames(policy).shared].sort(), ['corp', 'dev']);
});

test('no name, no policy makes an exception, and no candidate is too long', () => {
  const text = fc
    .array(fc.stringMatching(/^[ -~]{1,63}$/), { maxLength: 5 })
    .map((labels) => labels.join('.'));
  fc.assert(
    fc.property(text, fc.array(text, { maxLength: 3 }), fc.nat(65_535), (asked, namespaces, type) => {
      const names = createNames({ ...policy, namespaces, connected: namespaces, laptopDomains: namespaces });
      const name = parseName(asked);
      if (name === undefined) return;
      const route = names.classify(lowerName(name), type, 1);
      if (route.kind === 'cluster') assert.ok(route.candidates.every((candidate) => candidate.length <= 255));
    }),
  );
});
