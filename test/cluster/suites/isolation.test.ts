/**
 * What a session may not do, and what may not be done to it, on a real cluster: packets made by hand to every forbidden
 * place, broken messages, floods from a pod, and a manager gone bad. The manager goes on serving others, in the same
 * memory. Needs the tests' own cluster: it looks into pods from their node.
 */
import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test } from 'node:test';
import { start } from '../../../src/base/exec.js';
import { FRAME, KIND } from '../../../src/tunnel/frame.js';
import { ping, SYN, tcp, udp } from '../../wire/nat-packets.js';
import { openCluster } from '../harness/cluster.js';
import { BESIDE_ADDRESS, CONTROL_ADDRESS, NODES } from '../harness/settings.js';
import { until } from '../harness/until.js';
import { join, openGate, type Enrolled, type Gate } from './gate.js';
import { insideManager, insidePod, residentBytes, type Inside } from './manager-inside.js';
import { openPacketPeer, type PacketPeer } from './packet-peer.js';
import { connected, ensureManager, field, MANAGER, testLaptop } from './support.js';

const SOON = { timeoutMs: 15_000, everyMs: 50 };
/**
 * What the manager may hold after all this: garbage, which V8 collects when it allocates and not when it idles (a fresh
 * manager was seen to peak 71 MiB higher, and to fall again with the next traffic). A quarter of what its pod may use.
 */
const GROWTH_MAX_BYTES = 128 * 1024 * 1024;

const RST = 0x04;

const cluster = await openCluster();
const laptop = await testLaptop(cluster, 'sec-isolation');

describe('isolation', { skip: cluster.own ? false : 'needs the tests’ own cluster' }, () => {
  let gate: Gate;
  let manager: Inside;
  let managerIP: string;
  let pod: string;
  let echo: string;
  let one: PacketPeer;
  let other: PacketPeer;
  let memoryBefore: number;

  before(
    async () => {
      await ensureManager(cluster);
      gate = await openGate(laptop, cluster.kubeconfig);
      manager = await insideManager(cluster);
      managerIP = await field(cluster, `pod -n ${MANAGER.namespace} ${MANAGER.pod}`, '{.status.podIP}');
      pod = await field(cluster, 'pod -n shop db-0', '{.status.podIP}');
      echo = await field(cluster, 'service -n shop echo', '{.spec.clusterIP}');
      one = await openPacketPeer(gate);
      other = await openPacketPeer(gate);
      memoryBefore = await residentBytes(manager.pid);
    },
    { timeout: 200_000 },
  );
  after(async () => {
    one.close();
    other.close();
    await gate.close();
  });

  /** Both sessions are served, and the manager is the same process. */
  async function stillServing(): Promise<void> {
    await Promise.all([one.fence(pod), other.fence(pod)]);
    assert.equal((await insideManager(cluster)).pid, manager.pid);
  }

  test('the packets of these tests are good ones: a pod answers them', async () => {
    one.send([
      tcp({ from: one.address, to: pod, sourcePort: 40_000, port: 6379, flags: SYN }),
      udp({ from: one.address, to: echo, sourcePort: 40_001, port: 7, data: Buffer.from('hello') }),
    ]);
    const came = (what: string, port: number) => () =>
      one.seen.some((seen) => seen.what === what && seen.port === port);
    await until('SYN and ACK', came('tcp syn ack', 40_000), SOON);
    await until('an echo', came('udp', 40_001), SOON);
    one.send([
      tcp({ from: one.address, to: pod, sourcePort: 40_000, port: 6379, flags: RST, sequence: 1001 }),
    ]); // or it would be answered again and again
    await stillServing();
  });

  const places: readonly (readonly [name: string, address: () => string, port: number])[] = [
    ['the other session', () => other.address, 22],
    ['itself', () => one.address, 22],
    ['a session’s neighbour', () => '198.18.0.1', 22],
    ['the manager’s pod', () => managerIP, 443],
    ['the manager’s pod, a port that nobody listens on', () => managerIP, 22],
    ['the manager’s loopback', () => '127.0.0.1', 443],
    ...NODES.flatMap(({ name, address }) => [
      [`the kubelet of ${name}`, () => address, 10_250] as const,
      [`ssh of ${name}`, () => address, 22] as const,
    ]),
    ...NODES.map(
      ({ name, podCidr }) =>
        [`${name} within the pod network`, () => podCidr.replace('.0/24', '.1'), 10_250] as const,
    ),
    ['the API server’s own address', () => CONTROL_ADDRESS, 6443],
    ['the cloud’s metadata', () => '169.254.169.254', 80],
    ['link-local', () => '169.254.1.1', 53],
    ['“this” network', () => '0.0.0.0', 443],
    ['multicast', () => '224.0.0.1', 5353],
    ['broadcast', () => '255.255.255.255', 67],
    ['the pods’ broadcast', () => '10.244.1.255', 67],
    ['reserved addresses', () => '240.0.0.1', 443],
    ['somewhere outside', () => '192.88.99.1', 80],
  ];
  for (const [name, address, port] of places) {
    test(`forbidden: ${name}, by TCP, UDP and ping`, async () => {
      const to = address();
      const from = one.address;
      one.seen.length = 0;
      other.seen.length = 0;
      one.send([
        tcp({ from, to, sourcePort: 41_000, port, flags: SYN }),
        udp({ from, to, sourcePort: 41_001, port, data: Buffer.from('x') }),
        ping({ from, to, id: 9999 }),
      ]);
      await stillServing();
      const allowed = /^(?:icmp 3\/\d+|tcp rst.*)$/; // a refusal
      const answers = one.seen.filter((seen) => !(seen.what === 'icmp 0/0' && seen.from === pod));
      assert.deepEqual(
        answers.filter(({ what }) => !allowed.test(what)),
        [],
      );
      assert.deepEqual(
        other.seen.filter(({ from: source }) => source !== pod),
        [],
      );
    });
  }

  test('a forged source vanishes: the other session’s, a pod’s, the manager’s, a node’s, one from outside', async () => {
    const sources = [
      other.address,
      pod,
      managerIP,
      NODES[0]?.address ?? '',
      '198.51.100.77',
      '127.0.0.1',
      '0.0.0.0',
    ];
    one.seen.length = 0;
    other.seen.length = 0;
    for (const from of sources) {
      one.send([
        tcp({ from, to: pod, sourcePort: 42_000, port: 6379, flags: SYN }),
        udp({ from, to: echo, sourcePort: 42_001, port: 7, data: Buffer.from('forged') }),
        ping({ from, to: pod, id: 4242 }),
      ]);
    }
    await stillServing();
    for (const peer of [one, other])
      assert.deepEqual(
        peer.seen.filter(({ what, id }) => what !== 'icmp 0/0' || id === 4242),
        [],
      );
  });

  test('packets with a virtio header that lies are dropped, one by one', async () => {
    const headers = {
      'an unknown kind of segmentation': '00ff0000000000000000',
      'segments of no bytes': '01010000000014000600',
      'a header longer than the packet': '0101ffff640014000600',
      'a checksum beyond the packet': '010000000000ffff0600',
      'a checksum field beyond the packet': '0100000000001400ffff',
      'IPv6 segments in an IPv4 packet': '01042800640014000600',
      'TCP segments of a UDP packet': '01012800640014000600',
      'all ones': 'ffffffffffffffffffff',
    };
    for (const virtio of Object.values(headers)) {
      one.send(
        [udp({ from: one.address, to: echo, sourcePort: 43_000, port: 7, data: Buffer.from('lie') })],
        virtio,
      );
    }
    await stillServing();
    assert.deepEqual(
      one.seen.filter(({ port }) => port === 43_000),
      [],
    );
  });

  test('packets that are none are dropped, one by one', async () => {
    const good = ping({ from: one.address, to: pod, id: 5151 });
    const altered = (change: (packet: Buffer) => unknown) => {
      const packet = Buffer.from(good);
      change(packet);
      return packet;
    };
    one.seen.length = 0;
    one.send([
      altered((packet) => packet.writeUInt8(0x4f, 0)), // a header longer than the packet
      altered((packet) => packet.writeUInt8(0x41, 0)),
      altered((packet) => packet.writeUInt8(0x05, 0)), // of no version
      altered((packet) => packet.writeUInt8(0x65, 0)), // an IPv6 that is none
      altered((packet) => packet.writeUInt16BE(0xffff, 2)),
      altered((packet) => packet.writeUInt16BE(0, 2)),
      good.subarray(0, 20),
      randomBytes(40),
    ]);
    await stillServing();
    assert.deepEqual(
      one.seen.filter(({ id }) => id === 5151),
      [],
    );
  });

  const mux = (...bytes: readonly (number | Buffer)[]) =>
    Buffer.concat([
      Buffer.from([KIND.mux]),
      ...bytes.map((part) => (typeof part === 'number' ? Buffer.from([part]) : part)),
    ]);
  const u32 = (value: number) => Buffer.from(value.toString(16).padStart(8, '0'), 'hex');
  const u48 = (value: number) => Buffer.from(value.toString(16).padStart(12, '0'), 'hex');
  const packets = (...parts: readonly Buffer[]) => Buffer.concat([Buffer.from([KIND.packets]), ...parts]);

  const violations: Readonly<Record<string, readonly [message: Buffer | string, closed: RegExp]>> = {
    'a record cut short': [packets(u32(100), Buffer.alloc(20)), /^4400 MALFORMED$/],
    'a record’s length cut short': [packets(Buffer.from([0, 0])), /^4400 MALFORMED$/],
    'a record of no bytes': [packets(u32(0)), /^4400 MALFORMED$/],
    'a record longer than any packet': [packets(u32(70_000), Buffer.alloc(70_000)), /^4400 MALFORMED$/],
    'a record of 4 GiB': [packets(u32(0xffff_ffff), Buffer.alloc(100)), /^4400 MALFORMED$/],
    'an unknown kind': [Buffer.from([99, 1, 2, 3]), /^4400 MALFORMED$/],
    'an empty message': [Buffer.alloc(0), /^4400 MALFORMED$/],
    'an ack of the wrong length': [Buffer.from([KIND.ack, 1, 2]), /^4400 MALFORMED$/],
    'a ping of the wrong length': [Buffer.from([KIND.ping, 1]), /^4400 MALFORMED$/],
    'an unknown mux frame': [mux(77, u32(1)), /^4400 MALFORMED$/],
    'a mux frame cut short': [mux(FRAME.data, u32(1), 0), /^4400 MALFORMED$/],
    'bytes on a stream that nobody opened': [mux(FRAME.data, u32(1), u48(0), u32(1), 1), /^4400 MALFORMED$/],
    'credit for a stream that nobody opened': [
      mux(FRAME.credit, u32(1), u48(2 ** 48 - 1)),
      /^4400 MALFORMED$/,
    ],
    'a stream opened as if by the manager': [
      mux(FRAME.open, u32(2), 0, u48(1000), Buffer.from([0, 2]), Buffer.from('{}')),
      /^4400 MALFORMED$/,
    ],
    'a target that is no JSON': [
      mux(FRAME.open, u32(1), 0, u48(1000), Buffer.from([0, 2]), Buffer.from('{]')),
      /^4400 MALFORMED$/,
    ],
    'control that is no JSON': ['{"request":', /^4400 MALFORMED$/],
    'control of no known form': ['{"request":{"id":-1,"method":"x"}}', /^4400 MALFORMED$/],
    'control nested without end': ['['.repeat(100_000), /^4400 MALFORMED$/],
    'a request nested deep': [
      `{"request":{"id":1,"method":"goodbye","params":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`,
      /^4400 MALFORMED$/,
    ],
    // the rest of it is never read, so on the way its end may come as a reset
    'a message longer than 256 KiB': [Buffer.alloc(256 * 1024 + 1, KIND.packets), /^(?:1009|1006) $/],
  };
  for (const [what, [message, closed]] of Object.entries(violations)) {
    test(`${what}: the websocket is closed, saying why; the session resumes`, async () => {
      const session = await gate.enroll();
      assert.match(await closingAfter(session, 'open', [message]), closed);
      const carrier = await gate.dial();
      await join(carrier, session, { mode: 'resume' });
      carrier.close(1000, '');
      await stillServing();
    });
  }

  /** Joins, sends, and returns how the manager closed the websocket; `open` where it did not until a reply came. */
  async function closingAfter(
    session: Enrolled,
    mode: 'open' | 'resume',
    messages: readonly (Buffer | string)[],
  ): Promise<string> {
    const carrier = await gate.dial();
    await join(carrier, session, { mode });
    return new Promise((resolve) => {
      carrier.listen({
        text: (text) => {
          if (!text.includes('"id":424242')) return;
          carrier.close(1000, '');
          resolve('open');
        },
        binary: () => undefined,
        drained: () => undefined,
        closed: (code, reason) => resolve(`${code} ${reason}`),
      });
      for (const message of messages) {
        if (typeof message === 'string') carrier.sendText(message);
        else carrier.sendBinary(message, () => undefined);
      }
      carrier.sendText('{"request":{"id":424242,"method":"nothing","params":{}}}');
    });
  }

  test('random messages end websockets, never the manager', async () => {
    const session = await gate.enroll();
    const seen = new Set<string>();
    for (let run = 0; run < 25; run += 1) {
      const messages = Array.from({ length: 20 }, () => {
        const message = randomBytes(randomInt(1, 2000));
        message[0] = run % 5 === 0 ? randomInt(256) : randomInt(1, 6);
        return message;
      });
      seen.add(await closingAfter(session, 'open', messages));
    }
    assert.ok(seen.has('4400 MALFORMED'));
    assert.deepEqual(
      [...seen].filter((how) => !/^(?:open|4400 [A-Z_]+)$/.test(how)),
      [],
    );
    await stillServing();
  });

  test('more streams than there may be are refused, each of them', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 1000 }, () => one.link.openStream({ to: 'nobody' })),
    );
    assert.deepEqual([...new Set(outcomes.map(({ status }) => status))], ['rejected']);
    await stillServing();
  });

  test('a session that pings and asks without ever reading the answers is closed, and its memory is given back', async () => {
    const session = await gate.enroll();
    const carrier = await gate.dial();
    await join(carrier, session);
    const ask = JSON.stringify({ request: { id: 1, method: 'x'.repeat(60), params: {} } });
    carrier.listen(undefined); // reads nothing
    for (let sent = 0; sent < 100_000; sent += 1) carrier.sendText(ask);
    await until(
      'the end of it',
      async () => (await gate.session(session.name)).status?.phase === 'Away',
      SOON,
    );
    carrier.terminate();
    await stillServing();
  });

  const floods: readonly (readonly [mode: string, count: number, what: string])[] = [
    ['silent', 600, 'connections that say nothing'],
    ['slow', 200, 'requests that never end'],
    ['mute', 600, 'websockets that say nothing'],
    ['giant', 200, 'websockets that promise 2^62 bytes'],
    ['pings', 50, 'websockets that only ping, and read nothing'],
    ['reset', 500, 'upgrades to nowhere, reset'],
    ['garbage', 200, 'bytes that are no HTTP'],
  ];
  for (const [mode, count, what] of floods) {
    test(`${count} ${what}, from a pod: who is connected stays so, and who comes gets in`, async () => {
      const crowd = await strangers(mode, count);
      try {
        await stillServing();
        const session = await gate.enroll();
        const carrier = await gate.dial();
        await join(carrier, session);
        carrier.close(1000, '');
      } finally {
        await crowd.stop();
      }
      await stillServing();
    });
  }

  async function strangers(mode: string, count: number) {
    const { pid } = await insidePod(cluster, 'db-1 -n shop', /redis/);
    const program = fileURLToPath(new URL('strangers.ts', import.meta.url));
    const argv = ['nsenter', `--net=/proc/${pid}/ns/net`, '--', process.execPath, '--import', 'tsx'] as const;
    const child = start([...argv, program, managerIP, mode, String(count)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    if (child.stdout === null) throw new Error('its output is a pipe');
    await Promise.race([
      once(createInterface(child.stdout), 'line'),
      ended.then(() => assert.fail('it ended')),
    ]);
    return {
      async stop() {
        child.stdin?.end();
        await ended;
      },
    };
  }

  test('after all of that the manager is the process that it was, in much the same memory', async () => {
    await until(
      'the memory to be given back',
      async () => (await residentBytes(manager.pid)) - memoryBefore < GROWTH_MAX_BYTES,
      { timeoutMs: 20_000 },
    );
    await stillServing();
  });

  test('from a pod nothing reaches a session, not even by way of the manager’s own address', async () => {
    const neighbour = await insidePod(cluster, 'db-1 -n shop', /redis/); // on the manager's node
    const route = [`${one.address}/32`, 'via', managerIP];
    one.seen.length = 0;
    await neighbour.run(['ip', 'route', 'add', ...route, 'dev', 'eth0', 'onlink']);
    try {
      await assert.rejects(neighbour.run(['ping', '-n', '-c', '3', '-i', '0.2', '-W', '1', one.address]));
      await assert.rejects(neighbour.run(['curl', '-sS', '--max-time', '1', `http://${one.address}/`]));
    } finally {
      await neighbour.run(['ip', 'route', 'del', ...route]);
    }
    await stillServing();
    assert.deepEqual(
      one.seen.filter(({ what, from }) => what !== 'icmp 0/0' || from !== pod),
      [],
    );
  });

  test('a manager gone bad opens nothing on a laptop: no connection, no ping, from whatever source', async () => {
    const { interface: tun } = await connected(laptop, '-n', 'shop');
    const address = tun?.addresses[0]?.split('/')[0] ?? '';
    const server = laptop.spawn(['python3', '-m', 'http.server', '8080', '--bind', '0.0.0.0'], {
      stdio: 'ignore',
    });
    const forged = [pod, '169.254.169.254', '198.51.100.1', BESIDE_ADDRESS];
    try {
      await until(
        'the server',
        async () =>
          (await laptop.run(['curl', '-sS', '-o', '/dev/null', `http://${address}:8080`])).exitCode === 0,
        SOON,
      );
      const before = await heard();
      for (const source of forged) await manager.run(['ip', 'addr', 'add', `${source}/32`, 'dev', 'lo']);
      for (const source of ['', ...forged]) {
        const from = source === '' ? [] : ['-I', source];
        await assert.rejects(
          manager.run(['ping', '-n', '-c', '2', '-i', '0.2', '-W', '1', ...from, address]),
        );
        const by = source === '' ? [] : ['--interface', source];
        await assert.rejects(
          manager.run(['curl', '-sS', '--max-time', '1', ...by, `http://${address}:8080/`]),
        );
      }
      assert.deepEqual(await heard(), before);
      assert.match(
        (await laptop.run(['curl', '-sS', '--max-time', '10', 'http://web.shop'])).stdout,
        /^web-/,
      );
    } finally {
      for (const source of forged)
        await manager.run(['ip', 'addr', 'del', `${source}/32`, 'dev', 'lo']).catch(() => '');
      server.kill();
    }

    /** Pings and connections that reached the laptop's kernel. nstat(8) */
    async function heard(): Promise<string> {
      const { stdout } = await laptop.run(['nstat', '-asz', 'IcmpInEchos', 'TcpPassiveOpens']);
      return stdout.replaceAll(/ +/g, ' ');
    }
  });
});
