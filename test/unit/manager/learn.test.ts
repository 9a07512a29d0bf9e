import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { cidr, holds, networkOf, overlaps } from '../../../src/base/cidr.js';
import {
  addressesOfNodes,
  namespaceNames,
  networksOfNodes,
  networksOfPods,
  networksOfServiceCidrs,
  networksOfServices,
  parseGateways,
  parseResolvConf,
  summarize,
  tellsPodNetworks,
} from '../../../src/manager/learn.js';

const service = (clusterIP: string) => ({ spec: { clusterIP, clusterIPs: [clusterIP] } });
const pod = (ip: string, more: { hostNetwork?: boolean; phase?: string } = {}) => ({
  spec: { hostNetwork: more.hostNetwork ?? false },
  status: { phase: more.phase ?? 'Running', podIPs: [{ ip }] },
});
const node = (address: string, ...podCIDRs: string[]) => ({
  metadata: { annotations: {} },
  spec: { podCIDR: podCIDRs[0] ?? '', podCIDRs },
  status: { addresses: [{ address }, { address: 'node-1' }] },
});

test('ServiceCIDR objects say the Services’ networks', () => {
  const objects = [
    { spec: { cidrs: ['10.96.0.0/12', 'fd00:96::/112'] } },
    { spec: { cidrs: ['10.200.0.0/24'] } },
    {},
  ];
  assert.deepEqual(networksOfServiceCidrs(objects), ['10.96.0.0/12', '10.200.0.0/24']);
});

const SERVICES = [
  { name: 'one Service: its /24', ips: ['10.96.0.1'], networks: ['10.96.0.0/24'] },
  { name: 'two: the smallest network of both', ips: ['10.96.0.1', '10.96.9.9'], networks: ['10.96.0.0/20'] },
  { name: 'a whole range', ips: ['10.96.0.1', '10.111.255.254'], networks: ['10.96.0.0/12'] },
  {
    name: 'wider than any range: the /16 of each',
    ips: ['10.96.0.1', '172.20.3.4'],
    networks: ['10.96.0.0/16', '172.20.0.0/16'],
  },
  { name: 'headless, external and IPv6: nothing', ips: ['None', '', 'fd00::1'], networks: [] },
] as const;

for (const { name, ips, networks } of SERVICES)
  test(`Services’ networks are learnt from their addresses: ${name}`, () => {
    assert.deepEqual(networksOfServices(ips.map(service)), networks);
  });

test('podCIDRs are joined where they are halves of one network', () => {
  const nodes = [
    node('172.31.0.11', '10.244.0.0/24'),
    node('172.31.0.12', '10.244.1.0/24'),
    node('172.31.0.13', '10.244.2.0/24'),
  ];
  assert.deepEqual(networksOfNodes(nodes), ['10.244.0.0/23', '10.244.2.0/24']);
});

test('podCIDRs are believed if the manager’s own pod lies in its own node’s', () => {
  const nodes = [node('172.31.0.11', '10.244.1.0/24'), node('172.31.0.12', '10.244.2.0/24')];
  const own = (podIP: string, hostIP: string) => tellsPodNetworks(nodes, { podIP, hostIP });
  assert.equal(own('10.244.1.10', '172.31.0.11'), true);
  assert.equal(own('10.244.2.10', '172.31.0.11'), false);
  assert.equal(own('192.168.44.3', '172.31.0.11'), false);
  assert.equal(own('10.244.1.10', '172.31.0.99'), false);
  assert.equal(tellsPodNetworks([node('172.31.0.11')], { podIP: '10.0.0.1', hostIP: '172.31.0.11' }), false);
});

test('pods’ networks are learnt from those that have an address of their own', () => {
  const pods = [
    pod('10.0.1.7'),
    pod('10.0.0.9'),
    pod('10.0.7.1'),
    pod('172.31.0.11', { hostNetwork: true }),
    pod('10.9.9.9', { phase: 'Succeeded' }),
    pod('fd00::1'),
    {},
  ];
  assert.deepEqual(networksOfPods(pods), ['10.0.0.0/23', '10.0.7.0/24']);
});

test('nodes’ addresses: status, plugins’ annotations, bases of podCIDRs, and gateways like the pod’s own', () => {
  const plugin = {
    'projectcalico.org/IPv4Address': '172.31.0.13/24',
    'projectcalico.org/IPv4VXLANTunnelAddr': '10.244.3.192',
  };
  const nodes = [
    node('172.31.0.11', '10.244.1.0/24'),
    { ...node('172.31.0.12', '10.244.2.0/24'), metadata: { annotations: plugin } },
  ];
  const told = ['10.244.1.0', '10.244.2.0', '10.244.3.192', '172.31.0.11', '172.31.0.12', '172.31.0.13'];
  const sorted = (list: readonly string[]) => [...list].sort((a, b) => cidr(a).base - cidr(b).base);
  assert.deepEqual(addressesOfNodes(nodes, []), told);
  assert.deepEqual(addressesOfNodes(nodes, ['10.244.1.1']), sorted([...told, '10.244.1.1', '10.244.2.1']));
  // A gateway elsewhere in its podCIDR says nothing of other nodes, whose pods may have that address.
  assert.deepEqual(addressesOfNodes(nodes, ['10.244.1.77']), sorted([...told, '10.244.1.77']));
});

test('namespaces are names', () => {
  const objects = ['shop', 'kube-system', 'Not a name', '-x', ''].map((name) => ({ metadata: { name } }));
  assert.deepEqual(namespaceNames([...objects, {}]), ['kube-system', 'shop']);
});

test('a pod’s resolv.conf tells resolvers and domain', () => {
  const text = (search: string) =>
    `# x\nsearch ${search}\nnameserver 10.96.0.10\nnameserver fd00::10\n nameserver 169.254.20.10\noptions ndots:5\n`;
  assert.deepEqual(parseResolvConf(text('cz-system.svc.corp.example svc.corp.example corp.example')), {
    resolvers: ['10.96.0.10', '169.254.20.10'],
    clusterDomain: 'corp.example',
  });
  assert.equal(parseResolvConf(text('example.test')).clusterDomain, 'cluster.local');
  assert.deepEqual(parseResolvConf(''), { resolvers: [], clusterDomain: 'cluster.local' });
});

test('gateways are read from /proc/net/route', () => {
  const text = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
`;
  assert.deepEqual(parseGateways(text), ['10.244.1.1']);
});

const networks = fc.array(
  fc
    .tuple(fc.integer({ min: 0, max: 2 ** 24 - 1 }), fc.integer({ min: 16, max: 28 }))
    .map(([host, prefix]) => networkOf(10 * 2 ** 24 + host, prefix)),
  { maxLength: 600 },
);

test('a summary holds every address, has no overlaps, and is bounded; unless widened it holds no other address', () => {
  fc.assert(
    fc.property(networks, (all) => {
      const summary = summarize(all).map(cidr);
      assert.ok(summary.length <= 256);
      for (const { base } of all) assert.ok(summary.some((network) => holds(network, base)));
      summary.slice(1).forEach((network, at) => assert.ok(!overlaps(network, summary[at] ?? network)));
      const size = (list: readonly { prefix: number }[]) =>
        list.reduce((sum, { prefix }) => sum + 2 ** (32 - prefix), 0);
      if (all.length <= 256) assert.ok(size(summary) <= size(all));
    }),
    { numRuns: 100 },
  );
});
