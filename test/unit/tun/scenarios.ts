/**
 * What must be true of TUNs on a real kernel. inside.ts runs them in a network and mount namespace of their own. A
 * scenario throws when its sentence is not true, and leaves no interface behind.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { exec, start } from '../../../src/base/exec.js';
import { codeOf } from '../../../src/base/errors.js';
import { makeTunDevice } from '../../../src/base/addon.js';
import { RECORD_MAX_BYTES, type TunDevice } from '../../../src/tun/device.js';
import { openTun } from '../../../src/tun/linux.js';
import {
  CLUSTER_ADDRESS,
  LAPTOP_ADDRESS,
  MTU,
  openPair,
  until,
  type Pair,
  type PairOptions,
} from './pair.js';
import { writeRandomRecords } from './random.js';
import { bodies, icmp, record, tcp, udp } from './records.js';

const ECHO = fileURLToPath(new URL('echo.mjs', import.meta.url));
const ECHO_PORT = 7;
const NO_OFFLOADS = { checksum: false, tso4: false, tso6: false, tsoEcn: false, uso: false };
const FROM_CLUSTER = { source: CLUSTER_ADDRESS, destination: LAPTOP_ADDRESS };
const FROM_LAPTOP = { source: LAPTOP_ADDRESS, destination: CLUSTER_ADDRESS };

const SCENARIOS: Readonly<Record<string, () => Promise<void>>> = {
  'a TCP transfer arrives byte for byte, both ways, in super-packets': () =>
    withEcho({}, async ({ laptop }) => {
      await transfer(32 * 1024 * 1024);
      const { readBytes, readPackets, droppedMalformed } = laptop.stats();
      assert.ok(readBytes / readPackets > 4 * MTU, `mean packet of ${readBytes / readPackets} bytes`);
      assert.equal(droppedMalformed, 0);
    }),

  'without offloads no packet is larger than the MTU and none has a virtio header': () => {
    const seen: Buffer[] = [];
    const join = (from: TunDevice, to: TunDevice) =>
      carryThrough(from, to, (records) => seen.push(...bodies(records)));
    return withEcho({ join }, async ({ laptop, manager }) => {
      for (const device of [laptop, manager]) device.setOffloads(NO_OFFLOADS);
      assert.deepEqual(laptop.offloads, NO_OFFLOADS);
      seen.length = 0;
      await transfer(1024 * 1024);
      assert.ok(seen.length > 1400);
      assert.equal(Math.max(...seen.map((body) => body.length)), 10 + MTU);
      assert.ok(seen.every((body) => body.subarray(0, 2).equals(Buffer.from([0, 0]))));
      laptop.setOffloads({ ...NO_OFFLOADS, checksum: true, tso4: true });
      assert.deepEqual(laptop.offloads, { ...NO_OFFLOADS, checksum: true, tso4: true });
    });
  },

  'datagrams pass, and those that are larger than the MTU pass as fragments': () =>
    withEcho({}, async () => {
      const socket = createSocket('udp4');
      for (const length of [1, 1200, 20_000, 65_000]) {
        const data = randomBytes(length);
        socket.send(data, ECHO_PORT, CLUSTER_ADDRESS);
        assert.ok(data.equals(await nextMessage(socket)), `${length} bytes`);
      }
      socket.close();
    }),

  'a closed port is refused': () =>
    withPair({}, async () => {
      const socket = connect(81, CLUSTER_ADDRESS);
      const [error] = await once(socket, 'error');
      assert.equal(codeOf(error), 'ECONNREFUSED');
    }),

  'the kernel behind the manager answers an echo request': () =>
    withPair({ join: () => undefined }, async ({ manager }) => {
      manager.write(record({ ...FROM_LAPTOP, protocol: 1, payload: icmp(8, 'hello') }));
      const [reply] = await takeSome(manager);
      assert.equal(reply?.readUInt8(10 + 20), 0);
      assert.equal(reply?.subarray(-5).toString(), 'hello');
    }),

  'the cluster cannot open a connection into the laptop': () =>
    withPair({}, async (pair) => {
      const server = createServer(() => assert.fail('a connection came'));
      await once(server.listen(0), 'listening');
      const address = server.address();
      assert.ok(typeof address === 'object' && address !== null);
      const before = pair.manager.stats().droppedFilter;
      const script = `require('net').connect(${address.port}, '${LAPTOP_ADDRESS}')`;
      const intruder = start(pair.inCluster(process.execPath, '-e', script), { stdio: 'ignore' });
      await until(() => pair.manager.stats().droppedFilter >= before + 2); // it tries again
      intruder.kill('SIGKILL');
      const syn = record({ ...FROM_CLUSTER, protocol: 6, payload: tcp(1234, address.port, 0x02) });
      expectDropped(pair.laptop, syn, 'droppedFilter');
      server.close();
    }),

  'what is spoofed, opens a connection or is malformed is dropped and counted': () =>
    withPair({ join: () => undefined }, async ({ laptop, manager }) => {
      const payload = udp(1, 2, Buffer.from('data'));
      for (const bad of [
        { ...FROM_CLUSTER, destination: '198.18.0.2', protocol: 17, payload },
        { ...FROM_CLUSTER, source: LAPTOP_ADDRESS, protocol: 17, payload },
        { ...FROM_CLUSTER, source: '127.0.0.1', protocol: 17, payload },
        { ...FROM_CLUSTER, source: '169.254.169.254', protocol: 17, payload },
        { ...FROM_CLUSTER, protocol: 1, payload: icmp(8, '') },
      ])
        expectDropped(laptop, record(bad), 'droppedFilter');
      expectDropped(manager, record({ ...FROM_CLUSTER, protocol: 17, payload }), 'droppedFilter');
      const good = { ...FROM_CLUSTER, protocol: 17, payload };
      for (const virtio of [
        '04000000000000000000',
        '01050000000014000600',
        '0100000000001400ffff',
        '00000000010000000000',
      ])
        expectDropped(laptop, record(good, virtio), 'droppedMalformed');
      const wrongLength = record(good);
      wrongLength.writeUInt16BE(31, 4 + 10 + 2);
      expectDropped(laptop, wrongLength, 'droppedMalformed');
    }),

  'a good record beside bad ones is written': () =>
    withPair({ join: () => undefined }, async ({ laptop }) => {
      const socket = createSocket('udp4');
      await once(socket.bind(0), 'listening');
      const good = record({
        ...FROM_CLUSTER,
        protocol: 17,
        payload: udp(9, socket.address().port, Buffer.from('good')),
      });
      const bad = record({
        ...FROM_CLUSTER,
        source: '0.0.0.0',
        protocol: 17,
        payload: udp(9, 9, Buffer.from('bad')),
      });
      laptop.write(Buffer.concat([bad, good, bad]));
      assert.equal(String(await nextMessage(socket)), 'good');
      assert.equal(laptop.stats().writtenPackets, 1);
      socket.close();
    }),

  'broken framing throws MALFORMED and nothing is written': () =>
    withPair({ join: () => undefined }, async ({ laptop }) => {
      const good = record({ ...FROM_CLUSTER, protocol: 17, payload: udp(1, 2, Buffer.from('data')) });
      const before = laptop.stats();
      for (const bytes of [
        good.subarray(0, -1),
        Buffer.concat([good, good.subarray(0, 3)]),
        Buffer.alloc(64),
      ])
        assert.throws(() => laptop.write(bytes), { code: 'MALFORMED' });
      assert.deepEqual(laptop.stats(), before);
      laptop.write(Buffer.alloc(0));
    }),

  'random records harm nothing': () =>
    withPair({ join: () => undefined }, async (pair) => {
      const seed = Date.now() % 2 ** 31;
      process.stderr.write(`seed ${seed}\n`); // seen when it fails
      writeRandomRecords(pair, seed);
    }),

  'without a session nothing passes, and a session that ends leaves nothing waiting': () =>
    withPair({ join: () => undefined }, async ({ laptop }) => {
      await sendDatagrams(3, 100, 9);
      await until(() => laptop.stats().readPackets === 3);
      laptop.setSession(undefined);
      assert.equal(laptop.stats().queuedBytes, 0);
      assert.equal(laptop.take(Buffer.alloc(RECORD_MAX_BYTES), 0), 0);
      const { droppedFilter } = laptop.stats();
      await sendDatagrams(1, 100, 9);
      await until(() => laptop.stats().droppedFilter === droppedFilter + 1);
      expectDropped(laptop, record({ ...FROM_CLUSTER, protocol: 1, payload: icmp(0, '') }), 'droppedFilter');
    }),

  'the listener is called once until a take finds nothing': () =>
    withPair({ join: () => undefined }, async ({ laptop }) => {
      let calls = 0;
      const arena = Buffer.alloc(RECORD_MAX_BYTES);
      laptop.setReadable(() => calls++);
      await sendDatagrams(5, 100, 9);
      await until(() => laptop.stats().readPackets === 5 && calls > 0);
      assert.equal(calls, 1);
      assert.equal(bodies(arena.subarray(0, laptop.take(arena, 0))).length, 5);
      await sendDatagrams(1, 100, 9);
      await until(() => laptop.stats().readPackets === 6);
      await nextTurns();
      assert.equal(calls, 1); // the last take still found some
      assert.ok(laptop.take(arena, 0) > 0);
      assert.equal(laptop.take(arena, 0), 0);
      await sendDatagrams(1, 100, 9);
      await until(() => calls === 2);
    }),

  'packets that came before there was a listener are told to the first one': () =>
    withPair({ join: () => undefined }, async ({ laptop }) => {
      await sendDatagrams(1, 100, 9);
      await until(() => laptop.stats().readPackets === 1);
      await nextTurns();
      await new Promise<void>((resolve) => laptop.setReadable(resolve));
    }),

  'a small flow overtakes a bulk one': () =>
    withPair({ join: () => undefined }, async ({ laptop }) => {
      const arena = Buffer.alloc(256 * 1024);
      await sendDatagrams(300, 1400, 5000);
      await until(() => laptop.stats().readPackets === 300);
      laptop.take(arena, 256 * 1024 - RECORD_MAX_BYTES); // the bulk flow has had its first quantum
      await sendDatagrams(1, 10, 53);
      await until(() => laptop.stats().readPackets === 301);
      const ports = bodies(arena.subarray(0, laptop.take(arena, 0))).map((body) =>
        body.readUInt16BE(10 + 22),
      );
      assert.ok(ports.indexOf(53) <= 1, `it came as number ${ports.indexOf(53)} of ${ports.length}`);
    }),

  'a take ends at the bytes that are wanted, after one record at least': () =>
    withPair({ join: () => undefined }, async ({ laptop }) => {
      const arena = Buffer.alloc(RECORD_MAX_BYTES);
      await sendDatagrams(6, 1000, 9);
      await until(() => laptop.stats().readPackets === 6);
      const counts = [1, 3000, 3300, arena.length].map(
        (wanted) => bodies(arena.subarray(0, laptop.take(arena, 0, wanted))).length,
      );
      assert.deepEqual(counts, [1, 2, 3, 0]);
    }),

  'what waits is bounded, and its memory is given back': () =>
    withPair({ join: () => undefined, queueBytes: 512 * 1024 }, async ({ laptop }) => {
      const arena = Buffer.alloc(RECORD_MAX_BYTES);
      for (let i = 1; i <= 10; i++) {
        await sendDatagrams(100, 1400, 5000);
        await until(() => laptop.stats().readPackets === i * 100);
      }
      const { queuedBytes, residentBytes, droppedQueue } = laptop.stats();
      assert.ok(droppedQueue > 0 && queuedBytes <= 512 * 1024 && residentBytes > 256 * 1024);
      while (laptop.take(arena, 0) > 0);
      assert.equal(laptop.stats().queuedBytes, 0);
      await until(() => laptop.stats().residentBytes === 0);
    }),

  'closing ends the interface, and may be repeated': async () => {
    const tun = openTun({ name: 'cz%d' });
    await exec(['ip', 'link', 'show', tun.name]);
    tun.close();
    tun.close();
    await assert.rejects(exec(['ip', 'link', 'show', tun.name]), { code: 'EXEC_FAILED' });
    assert.throws(() => tun.take(Buffer.alloc(RECORD_MAX_BYTES), 0), { code: 'TUN_CLOSED' });
  },

  'an interface that is deleted is told, and take throws TUN_GONE': async () => {
    const tun = openTun({ name: 'cz%d' });
    const arena = Buffer.alloc(RECORD_MAX_BYTES);
    assert.equal(tun.take(arena, 0), 0);
    const told = new Promise<void>((resolve) => tun.setReadable(resolve));
    await exec(['ip', 'link', 'delete', tun.name]);
    await told;
    assert.throws(() => tun.take(arena, 0), { code: 'TUN_GONE' });
    tun.close();
  },

  'a taken name is TUN_BUSY, a bad one USAGE': async () => {
    const tun = openTun({ name: 'cz0' });
    assert.throws(() => openTun({ name: 'cz0' }), { code: 'TUN_BUSY' });
    for (const name of ['', 'longer-than-fifteen', 'a/b', 'a%s', '%d%d', 'a b'])
      assert.throws(() => openTun({ name }), { code: 'USAGE' });
    tun.close();
  },

  'an arena without room for the largest record is refused': async () => {
    const tun = openTun({ name: 'cz%d' });
    assert.throws(() => tun.take(Buffer.alloc(RECORD_MAX_BYTES - 1), 0), TypeError);
    assert.throws(() => tun.take(Buffer.alloc(RECORD_MAX_BYTES), 1), TypeError);
    assert.throws(() => tun.take(Buffer.alloc(RECORD_MAX_BYTES), 2 ** 32 - 1), TypeError);
    tun.close();
  },

  'where /dev/net/tun is missing openTun says so, and makeTunDevice makes it': async () => {
    await exec(['mount', '-t', 'tmpfs', 'tmpfs', '/dev/net']);
    assert.throws(() => openTun({ name: 'cz%d' }), { code: 'TUN_MISSING' });
    makeTunDevice();
    makeTunDevice();
    openTun({ name: 'cz%d' }).close();
    await exec(['umount', '/dev/net']);
  },

  'where root itself may not open /dev/net/tun it is TUN_REFUSED': async () => {
    await exec(['mount', '-t', 'tmpfs', '-o', 'nodev', 'tmpfs', '/dev/net']);
    makeTunDevice();
    assert.throws(() => openTun({ name: 'cz%d' }), { code: 'TUN_REFUSED' });
    await exec(['umount', '/dev/net']);
  },
};

/** The sentences, each a scenario's name. */
export const SENTENCES: readonly string[] = Object.keys(SCENARIOS);

/** The program that runs scenarios. */
export const INSIDE = fileURLToPath(new URL('inside.ts', import.meta.url));

/** For each sentence that was run: null when it is true, else why not. */
export type Outcomes = ReadonlyMap<string, string | null>;

/** Returns what inside.ts printed. */
export function outcomes(stdout: string): Outcomes {
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
  return new Map(lines.map((line) => JSON.parse(line)).map(({ sentence, failure }) => [sentence, failure]));
}

/** Runs one scenario. */
export async function runScenario(sentence: string): Promise<void> {
  const scenario = SCENARIOS[sentence];
  assert.ok(scenario, `no scenario "${sentence}"`);
  await scenario();
}

async function withPair(options: PairOptions, use: (pair: Pair) => Promise<void>): Promise<void> {
  const pair = await openPair(options);
  try {
    await use(pair);
  } finally {
    pair.close();
  }
}

function withEcho(options: PairOptions, use: (pair: Pair) => Promise<void>): Promise<void> {
  return withPair(options, async (pair) => {
    const echo = start(pair.inCluster(process.execPath, ECHO), { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      assert.ok(echo.stdout);
      await once(echo.stdout, 'data');
      await use(pair);
    } finally {
      echo.kill('SIGKILL');
    }
  });
}

/** Sends random bytes to the echo and compares what comes back. */
async function transfer(bytes: number): Promise<void> {
  const data = randomBytes(bytes);
  const hash = createHash('sha256');
  const socket = connect(ECHO_PORT, CLUSTER_ADDRESS);
  const received = pipeline(socket, hash);
  socket.end(data);
  await received;
  assert.equal(hash.digest('hex'), createHash('sha256').update(data).digest('hex'));
}

function carryThrough(from: TunDevice, to: TunDevice, look: (records: Buffer) => void): void {
  const arena = Buffer.alloc(256 * 1024);
  from.setReadable(() => {
    for (let bytes = from.take(arena, 0); bytes > 0; bytes = from.take(arena, 0)) {
      look(arena.subarray(0, bytes));
      to.write(arena.subarray(0, bytes));
    }
  });
}

function expectDropped(
  device: TunDevice,
  bytes: Buffer,
  counter: 'droppedFilter' | 'droppedMalformed',
): void {
  const before = device.stats();
  device.write(bytes);
  const after = device.stats();
  assert.equal(after[counter], before[counter] + 1, bytes.toString('hex'));
  assert.equal(after.writtenPackets, before.writtenPackets);
}

async function takeSome(device: TunDevice): Promise<Buffer[]> {
  const arena = Buffer.alloc(RECORD_MAX_BYTES);
  let bytes = 0;
  await until(() => (bytes = device.take(arena, 0)) > 0);
  return bodies(arena.subarray(0, bytes));
}

async function sendDatagrams(count: number, length: number, port: number): Promise<void> {
  const socket = createSocket('udp4');
  const send = () =>
    new Promise<void>((done) => socket.send(Buffer.alloc(length), port, CLUSTER_ADDRESS, () => done()));
  for (let i = 0; i < count; i++) await send();
  socket.close();
}

async function nextMessage(socket: Socket): Promise<Buffer> {
  const [message] = await once(socket, 'message', { signal: AbortSignal.timeout(10_000) });
  return message;
}

/** Lets what other threads have already called come in. */
async function nextTurns(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
}
