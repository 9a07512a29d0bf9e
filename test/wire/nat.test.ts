/**
 * The manager's NAT for real: nftables in network namespaces of the test's own, sessions that are TUNs without any
 * filter, and hand-made packets to each place that is allowed and each that is not. nat-inside.ts does it; here is
 * what must come of it.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exec } from '../../src/base/exec.js';

const inside = fileURLToPath(new URL('nat-inside.ts', import.meta.url));
/** Without root, a user namespace gives the rights. */
const asRoot = process.getuid?.() === 0 ? [] : ['--map-root-user'];
const unshare = [
  'unshare',
  '--net',
  '--mount',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
  ...asRoot,
  '--',
];

let results: Record<string, unknown> = {};

before(async () => {
  const argv = [...unshare, process.execPath, '--import', 'tsx', inside];
  const { stdout } = await exec(argv, { timeoutMs: 60_000 });
  results = JSON.parse(stdout);
});

test('the uplink is the interface of the pod’s address, and sessions get its MTU', () => {
  assert.deepEqual(results['uplink'], { interfaceName: 'eth0', mtu: 1450 });
  assert.equal(results['mtu'], '1450');
});

test('nothing is forwarded before networks are set', () => {
  assert.equal(results['unannounced'], 'icmp 3/13');
});

test('a closed port refuses, a missing listener says so, an echo comes back, of pods and Services', () => {
  const answers = (address: string) => [
    `tcp rst ack from ${address} to port 40000`,
    `icmp 3/3 from ${address} to port 0`,
    `icmp 0/0 from ${address} to port 0`,
  ];
  const resolver = ['icmp 3/3 from 169.254.20.10', 'tcp rst ack'];
  assert.deepEqual(results['allowed'], [...answers('10.244.2.20'), ...answers('10.96.0.10'), ...resolver]);
});

test('forbidden places are refused at once, all in the same way, or get nothing at all', () => {
  const refused = ['icmp 3/13 from 10.244.1.10'];
  assert.deepEqual(results['forbidden'], {
    answers: {
      node: refused,
      gateway: refused,
      metadata: refused,
      'link-local': refused,
      'the resolver, other ports': refused,
      loopback: [],
      'this network': [],
      multicast: [],
      broadcast: [],
      'the pod network’s broadcast': [],
      reserved: refused,
      outside: refused,
      'a target not permitted': refused,
      'the manager’s own port': refused,
      'the other session': refused,
      itself: refused,
    },
    'the other session got': [],
  });
  assert.equal(results['intruders'], 0);
});

test('packets with a source that is not the session’s vanish', () => {
  assert.deepEqual(results['forged'], []);
});

test('at the far end there is only what was allowed, and all of it from the manager’s address', () => {
  const everything = ['10.244.2.20', '10.96.0.10'].flatMap((address) =>
    ['icmp', 'tcp', 'udp'].map((protocol) => `${address} ${protocol}`),
  );
  assert.deepEqual(results['far'], {
    sources: ['10.244.1.10'],
    targets: [...everything, '10.244.3.3 udp', '169.254.20.10 tcp', '169.254.20.10 udp'].sort(),
  });
});

test('nothing from the cluster opens a connection to a session', () => {
  assert.deepEqual(results['inbound'], []);
});

test('a connection that the manager does not know is reset at once', () => {
  assert.deepEqual(results['mid-connection'], { what: 'tcp rst', from: '10.244.2.20', sequence: 5555 });
});

test('fragmented datagrams arrive whole, both ways', () => {
  assert.deepEqual(results['fragments'], { parts: 3, same: true });
});

test('a narrower link beyond the manager is told to the session', () => {
  const inner = '198.18.0.1:45000 to 10.244.3.3';
  assert.deepEqual(results['path mtu'], { what: 'icmp 3/4', mtu: 1280, inner });
});

test('networks and forbidden addresses follow the cluster', () => {
  assert.deepEqual(results['changes'], {
    after: ['icmp 0/0', 'icmp 0/0'],
    back: ['icmp 3/13', 'icmp 3/13', 'icmp 3/13', 'icmp 0/0'],
    never: ['icmp 3/13', 'icmp 3/13'],
  });
});

test('a session that gets the interface and address of a former one gets none of its connections', () => {
  assert.deepEqual(results['successor'], { before: [], late: [], old: 'tcp rst' });
});

test('closing twice leaves no rules', () => {
  assert.equal(results['left'], '');
});
