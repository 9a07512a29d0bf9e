import assert from 'node:assert/strict';
import { test } from 'node:test';
import packet, { type Answer } from 'dns-packet';
import * as fc from 'fast-check';
import { encodeMessage, negativeTtl, parseMessage, startOfAuthority } from '../../../src/dns/message.js';

const name = fc
  .array(fc.stringMatching(/^[a-z0-9-]{1,12}$/), { minLength: 1, maxLength: 6 })
  .map((labels) => labels.join('.'));
const ttl = fc.nat(100_000);
const ipv4 = fc.ipV4();
const record: fc.Arbitrary<Answer> = fc.oneof(
  fc.record({ type: fc.constant('A' as const), name, ttl, data: ipv4 }),
  fc.record({ type: fc.constant('CNAME' as const), name, ttl, data: name }),
  fc.record({ type: fc.constant('PTR' as const), name, ttl, data: name }),
  fc.record({ type: fc.constant('NS' as const), name, ttl, data: name }),
  fc.record({
    type: fc.constant('MX' as const),
    name,
    ttl,
    data: fc.record({ preference: fc.nat(65_535), exchange: name }),
  }),
  fc.record({
    type: fc.constant('SRV' as const),
    name,
    ttl,
    data: fc.record({ priority: fc.nat(65_535), weight: fc.nat(65_535), port: fc.nat(65_535), target: name }),
  }),
  fc.record({
    type: fc.constant('SOA' as const),
    name,
    ttl,
    data: fc.record({
      mname: name,
      rname: name,
      serial: fc.nat(),
      refresh: fc.nat(),
      retry: fc.nat(),
      expire: fc.nat(),
      minimum: fc.nat(),
    }),
  }),
  fc.record({
    type: fc.constant('TXT' as const),
    name,
    ttl,
    data: fc.string({ minLength: 1, maxLength: 50 }),
  }),
);

test('what another implementation wrote reads back the same after our reading and writing, and never longer', () => {
  const records = fc.array(record, { maxLength: 8 });
  fc.assert(
    fc.property(name, records, records, records, (asked, answers, authorities, additionals) => {
      const bytes = packet.encode({
        type: 'response',
        id: 4711,
        questions: [{ type: 'A', name: asked }],
        answers,
        authorities,
        additionals,
      });
      const message = parseMessage(bytes);
      assert.ok(message !== undefined);
      const again = encodeMessage(message);
      assert.ok(again.length <= bytes.length);
      assert.deepEqual(packet.decode(again), packet.decode(bytes));
    }),
  );
});

test('names are compressed against each other', () => {
  const bytes = packet.encode({
    type: 'response',
    id: 1,
    questions: [{ type: 'A', name: 'web.shop' }],
    answers: [
      { type: 'CNAME', name: 'web.shop', ttl: 1, data: 'www.web.shop' },
      { type: 'A', name: 'www.web.shop', ttl: 1, data: '10.0.0.1' },
    ],
  });
  const message = parseMessage(bytes);
  assert.ok(message !== undefined);
  const hex = encodeMessage(message).toString('hex').slice(24);
  const question = '037765620473686f7000 0001 0001';
  const alias = 'c00c 0005 0001 00000001 0006 03777777c00c';
  const address = 'c026 0001 0001 00000001 0004 0a000001';
  assert.equal(hex, `${question}${alias}${address}`.replaceAll(' ', ''));
});

test('any bytes are a message or none, without an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (random) => {
      parseMessage(Buffer.from(random));
    }),
  );
});

test('a message with one byte changed is a message or none, and what is a message can be written', () => {
  const good = packet.encode({
    type: 'response',
    id: 1,
    questions: [{ type: 'SRV', name: '_http._tcp.web.shop' }],
    answers: [
      { type: 'SRV', name: '_http._tcp.web.shop', data: { port: 80, target: 'web.shop.svc.cluster.local' } },
      { type: 'CNAME', name: 'a.b', data: 'c.d' },
    ],
  });
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.nat(255), (at, value) => {
      const bytes = Buffer.from(good);
      bytes[at] = value;
      const message = parseMessage(bytes);
      if (message !== undefined) assert.ok(parseMessage(encodeMessage(message)) !== undefined);
    }),
    { numRuns: 2000 },
  );
});

test('a negative answer lives for the lesser of the authority’s TTL and its minimum', () => {
  assert.equal(negativeTtl([startOfAuthority('\0', 5)]), 5);
  assert.equal(negativeTtl([{ ...startOfAuthority('\0', 5), ttl: 3 }]), 3);
  assert.equal(negativeTtl([]), undefined);
});
