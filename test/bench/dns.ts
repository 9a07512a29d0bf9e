/**
 * Cached answers a second: cz's DNS in one process, a load generator in this one, a number of questions outstanding.
 * Run by itself: `node --import tsx test/bench/dns.ts [SECONDS] [ADDRESS PORT NAME]` (the latter: another server, to compare).
 */
import { fork, type ChildProcess } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { openDns } from '../../src/dns/open.js';
import { openFakeDns } from '../support/dns-fake.js';
import { CLUSTER_ZONE, OUTSIDE_ZONE, TRIED_POLICY } from '../support/dns-zones.js';

export interface DnsFigures {
  readonly queriesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Seconds of CPU that the server used for a second of the run; undefined for a foreign server. */
  readonly serverCpu: number | undefined;
}

export interface DnsLoad {
  readonly address: string;
  readonly port: number;
  readonly name: string;
  readonly seconds: number;
  readonly outstanding: number;
}

/** Measures a server that is already there. Every answer is checked for its id and for having a record. */
export async function measureServer(load: DnsLoad): Promise<Omit<DnsFigures, 'serverCpu'>> {
  const waits: number[] = [];
  const endAt = performance.now() + load.seconds * 1000;
  const sockets = await Promise.all(Array.from({ length: load.outstanding }, () => openSocket(load)));
  const startedAt = performance.now();
  await Promise.all(sockets.map((socket) => askUntil(socket, encodeQuestion(load.name), endAt, waits)));
  const seconds = (performance.now() - startedAt) / 1000;
  for (const socket of sockets) socket.close();
  waits.sort((a, b) => a - b);
  const at = (part: number) => Number((waits[Math.floor(waits.length * part)] ?? Number.NaN).toFixed(3));
  return { queriesPerSecond: Math.round(waits.length / seconds), p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Measures cz's own DNS, in a process of its own. */
export async function measureDns(seconds = 3, outstanding = 16): Promise<DnsFigures> {
  const server = fork(fileURLToPath(import.meta.url), ['serve'], { execArgv: ['--import', 'tsx'] });
  try {
    const [ready] = await once(server, 'message');
    const load = { address: '127.0.0.1', port: portOf(ready), name: 'web.shop', outstanding };
    await measureServer({ ...load, seconds: 1 });
    const before = await cpuOf(server);
    const figures = await measureServer({ ...load, seconds });
    return { ...figures, serverCpu: Number((((await cpuOf(server)) - before) / seconds).toFixed(2)) };
  } finally {
    server.kill('SIGKILL');
  }
}

async function openSocket(load: DnsLoad): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.connect(load.port, load.address);
  await once(socket, 'connect');
  return socket;
}

/** One question at a time on this socket; a lost one ends the measurement. */
function askUntil(socket: Socket, question: Buffer, endAt: number, waits: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let id = 0;
    let askedAt = 0;
    const watchdog = setTimeout(() => reject(new Error('no answer')), endAt - performance.now() + 2000);
    const ask = () => {
      id = (id + 1) & 0xffff;
      question.writeUInt16BE(id, 0);
      askedAt = performance.now();
      socket.send(question);
    };
    socket.on('error', reject);
    socket.on('message', (answer) => {
      const now = performance.now();
      if (answer.readUInt16BE(0) !== id || answer.readUInt16BE(6) === 0)
        return reject(new Error('wrong answer'));
      waits.push(now - askedAt);
      if (now < endAt) return ask();
      clearTimeout(watchdog);
      resolve();
    });
    ask();
  });
}

function encodeQuestion(name: string): Buffer {
  const labels = name.split('.').map((label) => String.fromCharCode(label.length) + label);
  return Buffer.concat([
    Buffer.from('000001000001000000000000', 'hex'),
    Buffer.from(labels.join(''), 'latin1'),
    Buffer.from('0000010001', 'hex'),
  ]);
}

async function serve(): Promise<void> {
  const address = '127.0.0.1';
  const cluster = await openFakeDns(address, 0, CLUSTER_ZONE);
  const outside = await openFakeDns(address, 0, OUTSIDE_ZONE);
  const dns = await openDns({
    address,
    port: 0,
    policy: TRIED_POLICY,
    cluster: [{ address, port: cluster.port }],
    outside: [{ address, port: outside.port }],
  });
  process.on('message', () => process.send?.({ cpu: process.cpuUsage() }));
  process.send?.({ port: dns.port });
}

function portOf(message: unknown): number {
  if (typeof message === 'object' && message !== null && 'port' in message) return Number(message.port);
  throw new Error('the server did not start');
}

async function cpuOf(server: ChildProcess): Promise<number> {
  server.send('cpu');
  const [message]: { cpu: NodeJS.CpuUsage }[] = await once(server, 'message');
  return message === undefined ? Number.NaN : (message.cpu.user + message.cpu.system) / 1e6;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [first, address, port, name] = process.argv.slice(2);
  const seconds = Number(first ?? 3);
  if (first === 'serve') await serve();
  else if (address === undefined) console.log(JSON.stringify(await measureDns(seconds)));
  else {
    const load = { address, port: Number(port), name: name ?? 'web.shop', seconds, outstanding: 16 };
    console.log(JSON.stringify(await measureServer(load)));
  }
}
