/** The DNS of the laptop's end over real sockets: both transports, limits, and servers that misbehave. */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import * as packet from 'dns-packet';
import { hasCode } from '../../src/base/errors.js';
import { openDns, type Dns } from '../../src/dns/open.js';
import { openDnsServer } from '../../src/dns/server.js';
import { openUpstream } from '../../src/dns/upstream.js';
import { openFakeDns } from '../support/dns-fake.js';
import { CLUSTER_ZONE, OUTSIDE_ZONE, TRIED_POLICY } from '../support/dns-zones.js';
import { waitFor } from '../support/wait-for.js';

const ADDRESS = '127.0.0.1';
const KEY = '\x03web\x04shop\x03svc\x07cluster\x05local\0\0\x01\0\x01\0';

async function setUp(t: TestContext) {
  const cluster = await openFakeDns(ADDRESS, 0, CLUSTER_ZONE);
  const outside = await openFakeDns(ADDRESS, 0, OUTSIDE_ZONE);
  const dns = await openDns({
    address: ADDRESS,
    port: 0,
    policy: TRIED_POLICY,
    cluster: [{ address: ADDRESS, port: cluster.port }],
    outside: [{ address: ADDRESS, port: outside.port }],
  });
  t.after(() => Promise.all([dns.close(), cluster.close(), outside.close()]));
  return { dns, cluster, outside };
}

function question(name: string, id: number): Buffer {
  return packet.encode({
    type: 'query',
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type: 'A', name }],
  });
}

async function askByUdp(dns: Dns, name: string): Promise<packet.DecodedPacket> {
  const socket = createSocket('udp4');
  try {
    socket.send(question(name, 9), dns.port, ADDRESS);
    const [bytes]: Buffer[] = await once(socket, 'message', { signal: AbortSignal.timeout(5000) });
    return packet.decode(bytes ?? Buffer.alloc(0));
  } finally {
    socket.close();
  }
}

test('a hundred equal questions at once are one question to the cluster', async (t) => {
  const { dns, cluster } = await setUp(t);
  const answers = await Promise.all(Array.from({ length: 100 }, () => askByUdp(dns, 'web.shop')));
  assert.ok(answers.every((answer) => answer.answers?.length === 1));
  assert.deepEqual(cluster.asked, ['web.shop.svc.cluster.local A']);
});

test('several questions on one TCP connection are all answered, in pieces as they come', async (t) => {
  const { dns } = await setUp(t);
  const socket = connect(dns.port, ADDRESS);
  t.after(() => socket.destroy());
  const received: Buffer[] = [];
  socket.on('data', (part) => received.push(part));
  const names = ['web.shop', 'many.shop', 'www.example.com', 'nosuch.shop', 'web.shop'];
  const bytes = Buffer.concat(names.flatMap((name, id) => framed(question(name, id))));
  for (const byte of bytes) socket.write(Buffer.from([byte]));
  await waitFor('all answers', () => unframe(received).length === names.length);
  const answers = unframe(received).map((answer) => packet.decode(answer));
  const counts = Object.fromEntries(answers.map((answer) => [answer.id ?? -1, answer.answers?.length]));
  assert.deepEqual(counts, { 0: 1, 1: 60, 2: 1, 3: 0, 4: 1 });
});

test('a TCP connection beyond the limit is closed, the others go on', async (t) => {
  const { dns } = await setUp(t);
  const sockets = Array.from({ length: 70 }, () => connect(dns.port, ADDRESS).on('error', () => undefined));
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  await waitFor(
    'some closed',
    () => sockets.filter((socket) => socket.closed || socket.readableEnded).length >= 6,
  );
  for (const socket of sockets) socket.resume();
  const open = sockets.find((socket) => !socket.closed && !socket.readableEnded);
  assert.ok(open !== undefined);
  open.write(Buffer.concat(framed(question('web.shop', 5))));
  const [answer]: Buffer[] = await once(open, 'data', { signal: AbortSignal.timeout(5000) });
  assert.equal(answer?.readUInt16BE(2), 5);
});

test('an answer that was cut is asked for again by TCP', async (t) => {
  const { dns, cluster } = await setUp(t);
  const socket = connect(dns.port, ADDRESS);
  t.after(() => socket.destroy());
  const received: Buffer[] = [];
  socket.on('data', (part) => received.push(part));
  socket.write(Buffer.concat(framed(question('many.shop', 1))));
  await waitFor('the answer', () => unframe(received).length === 1);
  assert.equal(packet.decode(unframe(received)[0] ?? Buffer.alloc(0)).answers?.length, 60);
  assert.deepEqual(cluster.asked, ['many.shop.svc.cluster.local A', 'many.shop.svc.cluster.local A']);
});

test('a probe’s name is answered with the server’s own address, and only while it lasts', async (t) => {
  const { dns } = await setUp(t);
  const probe = dns.openProbe();
  const answer = (await askByUdp(dns, probe.name)).answers?.[0];
  assert.equal(answer?.type === 'A' && answer.data, ADDRESS);
  assert.ok(probe.arrived);
  probe.close();
  assert.deepEqual((await askByUdp(dns, probe.name)).answers, []);
});

test('a server that asks back is left out, and the way out is told when no other is left', async (t) => {
  const { dns, outside } = await setUp(t);
  dns.update({ outside: [{ address: ADDRESS, port: dns.port }] });
  await assert.rejects(dns.dropLoops(), (error) => hasCode(error, 'DNS_LOOP'));
  dns.update({
    outside: [
      { address: ADDRESS, port: dns.port },
      { address: ADDRESS, port: outside.port },
    ],
  });
  await dns.dropLoops();
  const answer = await askByUdp(dns, 'www.example.com');
  assert.equal(answer.answers?.length, 1);
});

test('a port that is taken is told with its address', async (t) => {
  const { dns } = await setUp(t);
  const again = openDnsServer({ address: ADDRESS, port: dns.port, handle: () => undefined });
  await assert.rejects(again, (error) => hasCode(error, 'DNS_PORT'));
});

/** A server that answers with what `forge` makes of a right answer, in order. */
async function openForger(
  t: TestContext,
  forge: (answer: Buffer, query: Buffer) => Buffer[],
): Promise<number> {
  const socket = createSocket('udp4');
  t.after(() => closed(socket));
  socket.on('message', (query, from) => {
    const decoded = packet.decode(query);
    const answers = [{ type: 'A' as const, name: 'web.shop.svc.cluster.local', ttl: 1, data: '10.0.0.1' }];
    const answer = packet.encode({
      type: 'response',
      id: decoded.id ?? 0,
      questions: decoded.questions ?? [],
      answers,
    });
    for (const bytes of forge(answer, query)) socket.send(bytes, from.port, from.address);
  });
  socket.bind(0, ADDRESS);
  await once(socket, 'listening');
  return socket.address().port;
}

const forgeries: readonly [string, (answer: Buffer) => Buffer][] = [
  ['another id', (answer) => patched(answer, 0, answer.readUInt8(0) ^ 1)],
  ['another name', (answer) => patched(answer, 13, 0x78)],
  ['another type', (answer) => patched(answer, 12 + KEY.length - 4, 28)],
  ['no response bit', (answer) => patched(answer, 2, answer.readUInt8(2) & 0x7f)],
  ['bytes missing', (answer) => answer.subarray(0, 20)],
  ['a length past its end', (answer) => patched(answer, answer.length - 5, 200)],
];
for (const [what, forge] of forgeries) {
  test(`an answer with ${what} is not taken for one`, async (t) => {
    const port = await openForger(t, (answer) => [forge(Buffer.from(answer))]);
    const upstream = openUpstream({ servers: [{ address: ADDRESS, port }], own: [], attemptsMs: [50] });
    t.after(() => upstream.close());
    await assert.rejects(upstream.ask(KEY), (error) => hasCode(error, 'DNS_NO_ANSWER'));
  });
}

test('a forged answer before the right one changes nothing', async (t) => {
  const port = await openForger(t, (answer) => [
    patched(Buffer.from(answer), 0, answer.readUInt8(0) ^ 1),
    answer,
  ]);
  const upstream = openUpstream({ servers: [{ address: ADDRESS, port }], own: [] });
  t.after(() => upstream.close());
  assert.equal((await upstream.ask(KEY)).readUInt16BE(6), 1);
});

test('a question that waits in vain moves on to the next server, which is then asked first', async (t) => {
  const silent = await openForger(t, () => []);
  const { cluster } = await setUp(t);
  const servers = [silent, cluster.port].map((port) => ({ address: ADDRESS, port }));
  const upstream = openUpstream({ servers, own: [], attemptsMs: [50, 1000] });
  t.after(() => upstream.close());
  await upstream.ask(KEY);
  assert.deepEqual(
    upstream.servers.map(({ port }) => port),
    [cluster.port, silent],
  );
});

test('a server that there is no way to is passed over at once', async (t) => {
  const { cluster } = await setUp(t);
  const servers = [{ address: '255.255.255.255' }, { address: ADDRESS, port: cluster.port }];
  const upstream = openUpstream({ servers, own: [], attemptsMs: [60_000] });
  t.after(() => upstream.close());
  assert.equal((await upstream.ask(KEY)).readUInt16BE(6), 1);
});

test('a server that does not know EDNS is asked without it', async (t) => {
  const asked: number[] = [];
  const port = await openForger(t, (answer, query) => {
    asked.push(query.readUInt16BE(10));
    return [query.readUInt16BE(10) === 0 ? answer : patched(Buffer.from(answer), 3, 1)];
  });
  const upstream = openUpstream({ servers: [{ address: ADDRESS, port }], own: [] });
  t.after(() => upstream.close());
  assert.equal((await upstream.ask(KEY)).readUInt16BE(6), 1);
  assert.deepEqual(asked, [1, 0]);
});

test('our own address is never asked', async (t) => {
  const upstream = openUpstream({ servers: [{ address: '198.18.255.53' }], own: ['198.18.255.53'] });
  t.after(() => upstream.close());
  await assert.rejects(upstream.ask(KEY), (error) => hasCode(error, 'DNS_NO_SERVER'));
});

test('each question has an id and a port of its own', async (t) => {
  const ids = new Set<number>();
  const ports = new Set<number>();
  const socket = createSocket('udp4');
  t.after(() => closed(socket));
  socket.on('message', (query, from) => {
    ids.add(query.readUInt16BE(0));
    ports.add(from.port);
    const decoded = packet.decode(query);
    const answer = packet.encode({
      type: 'response',
      id: decoded.id ?? 0,
      questions: decoded.questions ?? [],
    });
    socket.send(answer, from.port, from.address);
  });
  socket.bind(0, ADDRESS);
  await once(socket, 'listening');
  const upstream = openUpstream({ servers: [{ address: ADDRESS, port: socket.address().port }], own: [] });
  t.after(() => upstream.close());
  for (let index = 0; index < 20; index++) await upstream.ask(KEY);
  assert.ok(ids.size > 15 && ports.size > 15, `${ids.size} ids, ${ports.size} ports of 20`);
});

function patched(bytes: Buffer, at: number, value: number): Buffer {
  bytes[at] = value;
  return bytes;
}

function framed(bytes: Buffer): Buffer[] {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return [length, bytes];
}

function unframe(parts: readonly Buffer[]): Buffer[] {
  const messages: Buffer[] = [];
  let rest = Buffer.concat(parts);
  while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
    messages.push(rest.subarray(2, 2 + rest.readUInt16BE(0)));
    rest = rest.subarray(2 + rest.readUInt16BE(0));
  }
  return messages;
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.close(() => resolve()));
}
