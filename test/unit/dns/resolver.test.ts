import assert from 'node:assert/strict';
import { test } from 'node:test';
import packet, { type Answer, type DecodedPacket } from 'dns-packet';
import * as fc from 'fast-check';
import { silentLog } from '../../../src/base/log.js';
import { createCache } from '../../../src/dns/cache.js';
import { parseMessage } from '../../../src/dns/message.js';
import { createNames, type NamePolicy } from '../../../src/dns/names.js';
import { createResolver } from '../../../src/dns/resolver.js';
import type { Upstream } from '../../../src/dns/upstream.js';
import { formatName, readName } from '../../../src/dns/wire.js';
import { answerFrom } from '../../support/dns-fake.js';

const policy: NamePolicy = {
  clusterDomain: 'cluster.local',
  namespaces: ['orders', 'billing', 'dev'],
  connected: ['orders', 'billing'],
  networks: ['10.96.0.0/16'],
  laptopDomains: [],
};

const CLUSTER: Record<string, Answer[]> = {
  'web.orders.svc.cluster.local': [
    { type: 'A', name: 'web.orders.svc.cluster.local', ttl: 30, data: '10.96.0.7' },
  ],
  'dual.orders.svc.cluster.local': [
    { type: 'A', name: 'dual.orders.svc.cluster.local', ttl: 30, data: '10.96.0.8' },
    { type: 'AAAA', name: 'dual.orders.svc.cluster.local', ttl: 30, data: 'fd00::8' },
  ],
  'pay.billing.svc.cluster.local': [
    { type: 'A', name: 'pay.billing.svc.cluster.local', ttl: 5, data: '10.96.0.9' },
  ],
  'far.orders.svc.cluster.local': [
    { type: 'CNAME', name: 'far.orders.svc.cluster.local', ttl: 30, data: 'www.example.com' },
  ],
  'ring.orders.svc.cluster.local': [
    { type: 'CNAME', name: 'ring.orders.svc.cluster.local', ttl: 30, data: 'gnir.orders.svc.cluster.local' },
  ],
  'gnir.orders.svc.cluster.local': [
    { type: 'CNAME', name: 'gnir.orders.svc.cluster.local', ttl: 30, data: 'ring.orders.svc.cluster.local' },
  ],
  'many.orders.svc.cluster.local': Array.from({ length: 100 }, (_, index) => ({
    type: 'A' as const,
    name: 'many.orders.svc.cluster.local',
    ttl: 30,
    data: `10.244.0.${index}`,
  })),
  'once.orders.svc.cluster.local': [
    { type: 'A', name: 'once.orders.svc.cluster.local', ttl: 0, data: '10.96.0.1' },
  ],
  '7.0.96.10.in-addr.arpa': [
    { type: 'PTR', name: '7.0.96.10.in-addr.arpa', ttl: 30, data: 'web.orders.svc.cluster.local' },
  ],
};
const OUTSIDE: Record<string, Answer[]> = {
  'www.example.com': [{ type: 'A', name: 'www.example.com', ttl: 60, data: '203.0.113.1' }],
  'pages.dev': [{ type: 'A', name: 'pages.dev', ttl: 60, data: '203.0.113.2' }],
  printer: [{ type: 'A', name: 'printer', ttl: 60, data: '192.168.0.9' }],
};

interface FakeUpstream extends Upstream {
  readonly asked: string[];
  /** While set, questions wait until it is called. */
  hold: boolean;
  release(): void;
  failing: boolean;
}

function fakeUpstream(zones: string[], records: Record<string, Answer[]>): FakeUpstream {
  const waiting: (() => void)[] = [];
  const upstream: FakeUpstream = {
    asked: [],
    hold: false,
    failing: false,
    servers: [],
    release: () => waiting.splice(0).forEach((go) => go()),
    async ask(key) {
      const question = Buffer.from(key.slice(0, -1), 'latin1');
      const type = question.readUInt16BE(question.length - 4);
      upstream.asked.push(`${formatName(key.slice(0, -5))} ${type}`);
      if (upstream.hold) await new Promise<void>((go) => waiting.push(go));
      if (upstream.failing) throw new Error('no answer');
      const query = Buffer.concat([Buffer.from('123401000001000000000000', 'hex'), question]);
      return packet.encode(answerFrom(packet.decode(query), { zones, records }));
    },
    setServers: () => undefined,
    abandon: () => {
      upstream.failing = true;
      upstream.release();
    },
    close: () => undefined,
  };
  return upstream;
}

function setUp(given: Partial<NamePolicy> = {}) {
  const cluster = fakeUpstream(['cluster.local', 'in-addr.arpa'], CLUSTER);
  const outside = fakeUpstream([''], OUTSIDE);
  const clock = { nowMs: 1_000_000 };
  const names = createNames({ ...policy, ...given });
  const resolver = createResolver({
    names,
    cluster,
    outside,
    cache: createCache(),
    log: silentLog,
    nowMs: () => clock.nowMs,
  });
  const ask = async (
    name: string,
    type: 'A' | 'AAAA' | 'SRV' | 'PTR' = 'A',
    more: { payload?: number; tcp?: boolean } = {},
  ) => {
    const additionals =
      more.payload === undefined
        ? []
        : [
            {
              type: 'OPT' as const,
              name: '.' as const,
              udpPayloadSize: more.payload,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ];
    const query = packet.encode({
      type: 'query',
      id: 77,
      flags: packet.RECURSION_DESIRED,
      questions: [{ type, name }],
      additionals,
    });
    const bytes = await resolver.handle(query, more.tcp === true ? 65_535 : 4096);
    assert.ok(bytes !== undefined);
    return { ...packet.decode(bytes), bytes };
  };
  return { cluster, outside, clock, resolver, ask };
}

function code(message: DecodedPacket): string {
  return 'rcode' in message ? String(message.rcode) : '';
}

function data(message: DecodedPacket): string[] {
  return (message.answers ?? []).map(
    (answer) =>
      `${answer.name} ${answer.type} ${'data' in answer && typeof answer.data === 'string' ? answer.data : ''}`,
  );
}

test('a short name is answered under itself, its letters as they were asked', async () => {
  const { ask, cluster } = setUp();
  assert.deepEqual(data(await ask('Web.ORDERS')), ['Web.ORDERS A 10.96.0.7']);
  assert.deepEqual(data(await ask('web.orders.SVC')), ['web.orders.SVC A 10.96.0.7']);
  assert.deepEqual(cluster.asked, ['web.orders.svc.cluster.local 1'], 'every spelling shares one question');
});

test('a bare name is the first connected namespace’s that has it, else the outside’s', async () => {
  const { ask, cluster, outside } = setUp();
  assert.deepEqual(data(await ask('pay')), ['pay A 10.96.0.9']);
  assert.deepEqual(data(await ask('printer')), ['printer A 192.168.0.9']);
  assert.deepEqual(outside.asked, ['printer 1']);
  assert.equal(cluster.asked.length, 4);
});

test('a namespace that is a public domain: the cluster’s name where it has it, else the outside’s', async () => {
  const { ask, outside } = setUp();
  assert.deepEqual(data(await ask('pages.dev')), ['pages.dev A 203.0.113.2']);
  assert.deepEqual(outside.asked, ['pages.dev 1']);
});

test('what lies below an unknown Service is not asked for', async () => {
  const { ask, cluster } = setUp();
  assert.equal(code(await ask('example.com.orders.svc.cluster.local')), 'NXDOMAIN');
  assert.deepEqual(cluster.asked, ['com.orders.svc.cluster.local 1']);
});

test('TTLs count down, and the cluster is asked again when they are over', async () => {
  const { ask, clock, cluster } = setUp();
  await ask('pay.billing');
  clock.nowMs += 3000;
  assert.equal((await ask('pay.billing')).answers?.map((answer) => 'ttl' in answer && answer.ttl)[0], 2);
  assert.equal(cluster.asked.length, 1);
  clock.nowMs += 2000;
  await ask('pay.billing');
  assert.equal(cluster.asked.length, 2);
});

test('an answer with TTL 0 is given and not kept', async () => {
  const { ask, cluster } = setUp();
  await ask('once.orders');
  assert.deepEqual(data(await ask('once.orders')), ['once.orders A 10.96.0.1']);
  assert.equal(cluster.asked.length, 2);
});

test('unknown names and missing types are told with an authority, and kept as long as that says', async () => {
  const { ask, clock, cluster } = setUp();
  const unknown = await ask('nosuch.orders');
  assert.equal(code(unknown), 'NXDOMAIN');
  assert.equal(unknown.authorities?.[0]?.type, 'SOA');
  const noData = await ask('web.orders', 'AAAA');
  assert.equal(code(noData), 'NOERROR');
  assert.deepEqual([noData.answers?.length, noData.authorities?.[0]?.type], [0, 'SOA']);
  await ask('nosuch.orders');
  assert.equal(cluster.asked.length, 2);
  clock.nowMs += 10_000;
  await ask('nosuch.orders');
  assert.equal(cluster.asked.length, 3);
});

test('an IPv6 address of the cluster’s is left out, since sessions carry IPv4', async () => {
  const { ask } = setUp();
  const answer = await ask('dual.orders', 'AAAA');
  assert.deepEqual([code(answer), data(answer)], ['NOERROR', []]);
});

test('equal questions share one asking', async () => {
  const { ask, cluster } = setUp();
  cluster.hold = true;
  const asked = [ask('web.orders'), ask('WEB.orders'), ask('web.orders.svc.cluster.local')];
  cluster.release();
  for (const answer of await Promise.all(asked)) assert.equal(answer.answers?.length, 1);
  assert.equal(cluster.asked.length, 1);
});

test('an alias out of the cluster is followed outside', async () => {
  const { ask, outside } = setUp();
  assert.deepEqual(data(await ask('far.orders')), [
    'far.orders CNAME www.example.com',
    'www.example.com A 203.0.113.1',
  ]);
  assert.deepEqual(outside.asked, ['www.example.com 1']);
});

test('aliases in a ring end', async () => {
  const { ask } = setUp();
  assert.equal(
    (await ask('ring.orders')).answers?.every((answer) => answer.type === 'CNAME'),
    true,
  );
});

test('a reverse lookup is the cluster’s', async () => {
  const { ask } = setUp();
  assert.deepEqual(data(await ask('7.0.96.10.in-addr.arpa', 'PTR')), [
    '7.0.96.10.in-addr.arpa PTR web.orders.svc.cluster.local',
  ]);
});

test('what does not fit is cut: 512 bytes, or what the asker takes, and all of it by TCP', async () => {
  const { ask } = setUp();
  const small = await ask('many.orders');
  assert.ok(small.flag_tc && small.bytes.length <= 512 && small.answers?.length === 0);
  const bigger = await ask('many.orders', 'A', { payload: 1232 });
  assert.ok(bigger.flag_tc && bigger.bytes.length <= 1232);
  const whole = await ask('many.orders', 'A', { payload: 4096 });
  assert.equal(whole.answers?.length, 100);
  assert.equal((await ask('many.orders', 'A', { tcp: true })).answers?.length, 100);
});

test('OPT is in the answer only if it was in the question', async () => {
  const { ask } = setUp();
  assert.deepEqual((await ask('web.orders')).additionals, []);
  assert.deepEqual(
    (await ask('web.orders', 'A', { payload: 1232 })).additionals?.map(({ type }) => type),
    ['OPT'],
  );
});

test('while the cluster cannot be asked, known names are answered, unknown ones fail, outside ones go on', async () => {
  const { ask, clock, resolver, outside, cluster } = setUp();
  await ask('web.orders');
  await ask('printer');
  clock.nowMs += 3_600_000;
  resolver.setReachable(false);
  const known = await ask('web.orders');
  assert.deepEqual(data(known), ['web.orders A 10.96.0.7']);
  assert.ok(known.answers?.every((answer) => 'ttl' in answer && answer.ttl === 5));
  assert.deepEqual(
    data(await ask('web.orders.svc')),
    ['web.orders.svc A 10.96.0.7'],
    'in a new spelling too',
  );
  assert.equal(code(await ask('other.orders')), 'SERVFAIL');
  assert.equal(code(await ask('other')), 'SERVFAIL');
  assert.deepEqual(data(await ask('printer')), ['printer A 192.168.0.9'], 'known not to be the cluster’s');
  assert.deepEqual(data(await ask('www.example.com')), ['www.example.com A 203.0.113.1']);
  assert.deepEqual(data(await ask('pages.dev')), ['pages.dev A 203.0.113.2']);
  assert.ok(outside.asked.includes('pages.dev 1'));
  cluster.failing = false;
  resolver.setReachable(true);
  assert.deepEqual(data(await ask('pay.billing')), ['pay.billing A 10.96.0.9']);
});

test('questions that wait when the cluster is lost fail at once', async () => {
  const { ask, resolver, cluster } = setUp();
  cluster.hold = true;
  const waiting = ask('web.orders');
  resolver.setReachable(false);
  assert.equal(code(await waiting), 'SERVFAIL');
});

test('an outside failure is passed on and not kept', async () => {
  const { ask, outside } = setUp();
  outside.failing = true;
  assert.equal(code(await ask('www.example.com')), 'SERVFAIL');
  outside.failing = false;
  assert.equal(code(await ask('www.example.com')), 'NOERROR');
});

test('another policy forgets what it changes and keeps the rest', async () => {
  const { ask, resolver, outside, cluster } = setUp({ namespaces: ['orders'] });
  await ask('web.orders');
  assert.equal(code(await ask('pay.billing')), 'NXDOMAIN');
  assert.deepEqual(outside.asked, ['pay.billing 1']);
  resolver.setNames(createNames(policy), (name) => name.endsWith('\x07billing\0'));
  assert.deepEqual(data(await ask('pay.billing')), ['pay.billing A 10.96.0.9']);
  await ask('web.orders');
  assert.equal(cluster.asked.filter((asked) => asked.startsWith('web.')).length, 1);
});

const refusals: readonly [string, string, number | undefined][] = [
  ['a response', '123481000001000000000000 0161000001 0001', undefined],
  ['less than a header', '1234', undefined],
  ['another operation', '123428000001000000000000 016100 00010001', 4],
  ['no question', '123401000000000000000000', 1],
  ['two questions', '123401000002000000000000 016100 00010001 016200 00010001', 1],
  ['a question cut off', '123401000001000000000000 016100 0001', 1],
  ['a compressed question', '123401000001000000000000 c00c 00010001', 1],
  ['a zone transfer', '123401000001000000000000 016100 00fc0001', 5],
  ['a record cut off', '123401000001000000000001 016100 00010001 0000', 1],
  ['OPT longer than the message', '123401000001000000000001 016100 00010001 00 0029 1000 00000000 00ff', 1],
];
for (const [what, hex, expected] of refusals) {
  test(`${what} gets ${expected === undefined ? 'no answer' : `code ${expected}`}`, async () => {
    const answer = await setUp().resolver.handle(Buffer.from(hex.replaceAll(' ', ''), 'hex'), 4096);
    assert.equal(answer === undefined ? undefined : answer.readUInt16BE(2) & 15, expected);
    if (answer !== undefined) assert.equal(answer.readUInt16BE(0), 0x1234);
  });
}

test('another EDNS version gets BADVERS', async () => {
  const hex = '123401000001000000000001 016100 00010001 00 0029 1000 00010000 0000'.replaceAll(' ', '');
  const answer = await setUp().resolver.handle(Buffer.from(hex, 'hex'), 4096);
  assert.equal(answer?.subarray(-11).toString('hex'), '0000291000010000000000');
});

const good = packet.encode({ type: 'query', id: 1, questions: [{ type: 'A', name: 'web.orders' }] });
const changed = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }).map((changes) => {
  const bytes = Buffer.from(good);
  for (const [at, value] of changes) bytes[at] = value;
  return bytes;
});
const anyBytes = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes));

test('whatever bytes come, the answer is none or a response to that very question', async () => {
  const { resolver } = setUp();
  await fc.assert(
    fc.asyncProperty(fc.oneof(changed, anyBytes), async (bytes) => {
      const answer = await resolver.handle(bytes, 4096);
      if (answer === undefined) return;
      assert.equal(answer.readUInt16BE(0), bytes.readUInt16BE(0));
      assert.ok((answer.readUInt16BE(2) & 0x8000) !== 0);
      assert.ok(answer.length <= 4096);
      if (answer.readUInt16BE(4) === 0) return;
      const end = (readName(answer, 12)?.end ?? 12) + 4;
      assert.ok(end > 16);
      assert.ok(parseMessage(answer) !== undefined, answer.toString('hex'));
      assert.deepEqual(answer.subarray(12, end), bytes.subarray(12, end));
    }),
    { numRuns: 3000 },
  );
});

test('whatever an upstream answers, the asker gets a response', async () => {
  const answer = packet.encode(
    answerFrom(
      packet.decode(packet.encode({ questions: [{ type: 'A', name: 'web.orders.svc.cluster.local' }] })),
      {
        zones: ['cluster.local'],
        records: CLUSTER,
      },
    ),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(answer.length - 1), fc.nat(255)), { maxLength: 6 }),
      async (changes) => {
        const { resolver, cluster } = setUp();
        cluster.ask = async () => {
          const bytes = Buffer.from(answer);
          for (const [at, value] of changes) bytes[at] = value;
          return bytes;
        };
        const seen = await resolver.handle(good, 4096);
        assert.ok(seen !== undefined);
        assert.deepEqual(seen.subarray(0, 2), good.subarray(0, 2));
        assert.ok((seen.readUInt16BE(2) & 0x8000) !== 0);
        assert.deepEqual(seen.subarray(12, good.length), good.subarray(12));
        assert.ok(parseMessage(seen) !== undefined, seen.toString('hex'));
      },
    ),
    { numRuns: 3000 },
  );
});
