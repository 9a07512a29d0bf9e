import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exec } from '../../../src/base/exec.js';
import { planChanges } from '../../../src/routes/apply.js';
import { formatGuard } from '../../../src/routes/guard.js';
import { planInterface } from '../../../src/routes/interface.js';
import { laptop } from './hosts.js';

test('only what differs is changed: rules go first and come last', () => {
  const host = laptop({
    routes: [
      { dst: '10.96.0.0/12', dev: 'cz0', protocol: '67' },
      { dst: '10.244.0.0/16', dev: 'cz0', protocol: '67' },
      { dst: '10.1.0.0/16', dev: 'wg0' },
    ],
    rules: [
      { priority: 5000, src: 'all', dst: '10.96.0.0', dstlen: 12, table: 'main', protocol: '67' },
      { priority: 4999, src: 'all', dst: '10.1.0.0', dstlen: 16, table: 'main' },
    ],
  });
  const plan = {
    routes: ['10.96.0.0/12', '10.245.0.0/16'],
    rules: [{ to: '10.245.0.0/16', priority: 5000 }],
  };
  assert.deepEqual(planChanges('cz0', plan, host), [
    'rule delete to 10.96.0.0/12 lookup main priority 5000 protocol 67',
    'route delete 10.244.0.0/16 dev cz0 proto 67',
    'route add 10.245.0.0/16 dev cz0 proto 67',
    'rule add to 10.245.0.0/16 lookup main priority 5000 protocol 67',
  ]);
});

test('an interface gets its addresses before it loses old ones', () => {
  const host = laptop({ addresses: { cz0: '198.18.0.1/32' } });
  assert.deepEqual(
    planInterface('cz0', { address: '198.18.0.2', dnsAddress: '198.19.255.53', mtu: 1450 }, host),
    [
      'link set dev cz0 addrgenmode none',
      'link set dev cz0 mtu 1450 up',
      'address add 198.18.0.2/32 dev cz0',
      'address add 198.19.255.53/32 dev cz0 scope host',
      'address delete 198.18.0.1/32 dev cz0',
    ],
  );
});

test('the guard’s rules', () => {
  assert.equal(
    formatGuard('cz0', 'meta iifkind != { "bridge", "veth" } '),
    `table inet cz
delete table inet cz
table inet cz {
  chain input {
    type filter hook input priority filter - 10; policy accept;
    iifname "cz0" ct state established,related accept
    iifname "cz0" drop
  }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    iifname "cz0" ct state established,related accept
    iifname "cz0" drop
    oifname "cz0" meta iifkind != { "bridge", "veth" } drop
  }
}
`,
  );
});

const inside = fileURLToPath(new URL('laptop-inside.ts', import.meta.url));
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
  const { stdout } = await exec([...unshare, process.execPath, '--import', 'tsx', inside], {
    timeoutMs: 60_000,
  });
  results = JSON.parse(stdout);
});

test('in a real kernel: packets go by the interface with the session’s address, an exit node’s table notwithstanding', () => {
  assert.deepEqual(results['ways'], {
    '10.96.0.10': 'dev cz0 src 198.18.0.1',
    '10.244.3.4': 'dev cz0 src 198.18.0.1',
    '10.96.7.7': 'dev tail0 src 100.101.102.103',
    '198.19.255.53': 'dev lo src 198.19.255.53',
    '203.0.113.200': 'dev tail0 src 100.101.102.103',
  });
});

test('in a real kernel: applied twice, nothing is left to change', () => {
  assert.deepEqual(results['again'], []);
});

test('in a real kernel: another session address takes over and the routes stay', () => {
  assert.deepEqual(results['moved'], {
    '10.96.0.10': 'dev cz0 src 198.18.0.2',
    '198.18.0.1': 'dev tail0 src 100.101.102.103',
  });
});

test('in a real kernel: a change that fails half-way is taken back, and says what failed', () => {
  assert.deepEqual(results['failed'], { code: 'ROUTES_FAILED', left: [] });
});

test('in a real kernel: a change of the laptop’s network is told', () => {
  assert.equal(results['told'], true);
});

test('in a real kernel: nothing from the cluster reaches the laptop, except answers', () => {
  assert.deepEqual(results['guard'], {
    there: true,
    replied: [],
    heard: ['answer'],
    'a neighbour sent': [],
    'a container heard': 'answer',
  });
});

test('in a real kernel: the undo leaves addresses, routes, rules and nft as they were, also when done twice', () => {
  assert.deepEqual(results['after'], results['before']);
});
