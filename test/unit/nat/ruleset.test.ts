import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { cidr, contains, overlaps } from '../../../src/base/cidr.js';
import {
  elementsOf,
  formatElements,
  formatSession,
  formatTable,
  NEVER,
  NO_ELEMENTS,
} from '../../../src/nat/ruleset.js';
import { findUplink } from '../../../src/nat/uplink.js';

test('the table, word for word', () => {
  assert.equal(
    formatTable(),
    `table inet cz
delete table inet cz
table inet cz {
  set sources { type ifname . ipv4_addr; }
  set owners { type ifname . mark; }
  map marks { type ifname : mark; }
  set allowed { type ipv4_addr; flags interval; }
  set forbidden { type ipv4_addr; }
  set resolvers { type ipv4_addr; }

  chain raw {
    type filter hook prerouting priority raw; policy accept;
    iifname "cz*" meta nfproto ipv6 drop
    iifname "cz*" iifname . ip saddr != @sources drop
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "cz*" goto refuse
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    iifname . ct mark @owners accept
    oifname . ct mark @owners ct state established,related accept
    iifname "cz*" jump outbound
  }
  chain outbound {
    ct state invalid drop
    tcp flags & (fin | syn | rst | ack) != syn reject with tcp reset
    ct state != new drop
    oifname "cz*" goto refuse
    ip daddr @resolvers meta l4proto { tcp, udp } th dport 53 goto permit
    ip daddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 } goto refuse
    ip daddr @forbidden goto refuse
    ip daddr != @allowed goto refuse
    meta l4proto { tcp, udp } goto permit
    icmp type echo-request goto permit
    goto refuse
  }
  chain permit {
    ct mark set iifname map @marks accept
  }
  chain refuse {
    reject with icmpx admin-prohibited
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ct mark & 0xff000000 != 0xc2000000 return
    meta l4proto { tcp, udp } masquerade to :16384-65535
    masquerade
  }
}
`,
  );
});

test('a session comes and goes by its three elements', () => {
  const session = { interfaceName: 'cz3', address: '198.18.0.7' };
  assert.equal(
    formatSession('add', session, 0xc200002a),
    `add element inet cz sources { "cz3" . 198.18.0.7 }
add element inet cz owners { "cz3" . 0xc200002a }
add element inet cz marks { "cz3" : 0xc200002a }
`,
  );
  assert.match(formatSession('delete', session, 0xc200002a), /^delete element inet cz sources/);
});

test('networks become elements: valid, ascending, none inside another, nothing that is never reachable', () => {
  const elements = elementsOf({
    allowed: [
      '10.244.0.0/16',
      '10.96.0.0/12',
      '10.244.3.0/24',
      '0.0.0.0/0',
      '169.254.0.0/16',
      'fd00::/8',
      '',
    ],
    forbidden: ['10.0.0.2', '10.0.0.1', '10.0.0.2', 'fd00::1', '10.0.0.0/8'],
    resolvers: ['169.254.20.10', '10.96.0.10', '127.0.0.53', '224.0.0.1', '::1'],
  });
  assert.deepEqual(elements, {
    allowed: ['10.96.0.0/12', '10.244.0.0/16'],
    forbidden: ['10.0.0.1', '10.0.0.2'],
    resolvers: ['10.96.0.10', '169.254.20.10'],
  });
});

test('only what differs is said, deletions first', () => {
  const before = { ...NO_ELEMENTS, allowed: ['10.96.0.0/12', '10.244.1.0/24'], forbidden: ['10.0.0.1'] };
  const after = { ...before, allowed: ['10.96.0.0/12', '10.244.0.0/16'], resolvers: ['169.254.20.10'] };
  assert.equal(
    formatElements(before, after),
    `delete element inet cz allowed { 10.244.1.0/24 }
add element inet cz allowed { 10.244.0.0/16 }
add element inet cz resolvers { 169.254.20.10 }
`,
  );
  assert.equal(formatElements(after, after), '');
});

test('whatever networks are told, no element lets out what never may, and none overlaps another', () => {
  const text = fc.oneof(
    fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 33 })).map(([address, prefix]) => `${address}/${prefix}`),
    fc.string({ maxLength: 20 }),
  );
  fc.assert(
    fc.property(fc.array(text, { maxLength: 20 }), (allowed) => {
      const networks = elementsOf({ allowed, forbidden: allowed, resolvers: [] }).allowed.map(cidr);
      for (const network of networks) {
        assert.ok(!NEVER.some((never) => overlaps(cidr(never), network)));
        assert.ok(!networks.some((other) => other !== network && contains(other, network)));
      }
    }),
  );
});

test('the uplink is found by the pod’s address', () => {
  const links = [
    { ifname: 'lo', mtu: 65_536, addr_info: [{ local: '127.0.0.1' }] },
    { ifname: 'net1', mtu: 9000, addr_info: [{ local: '192.0.2.9' }] },
    { ifname: 'eth0', mtu: 1450, addr_info: [{ local: '10.244.1.10' }] },
  ];
  assert.deepEqual(findUplink(links, '10.244.1.10'), { interfaceName: 'eth0', mtu: 1450 });
  assert.equal(findUplink(links, '127.0.0.1').mtu, 65_535);
  assert.throws(() => findUplink(links, '10.244.1.11'), { code: 'NAT_FAILED' });
  assert.throws(() => findUplink({}, '10.244.1.10'), { code: 'MALFORMED' });
});
