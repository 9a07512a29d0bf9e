/**
 * A program of the tests, run in a pod's network: many connections to the manager's port that prove nothing. Says `open`
 * on a line when all are made, and goes on with it until its standard input ends.
 *
 *   node --import tsx strangers.ts HOST MODE COUNT
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const [host = '', mode = '', count = '1'] = process.argv.slice(2);
const KEY = Buffer.alloc(16).toString('base64');
const UPGRADE = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`;
/** A masked binary frame's head that promises 2^62 bytes. RFC 6455 §5.2 */
const GIANT = Buffer.from('82ff4000000000000000', 'hex');
/** A masked, empty ping. */
const PING = Buffer.from('898000000000', 'hex');
const BEAT_MS = 50;

type Behave = (socket: Socket) => void;

const modes: Readonly<Record<string, Behave | undefined>> = {
  silent: () => undefined,
  slow: (socket) => {
    socket.write('GET /v1/session HTTP/1.1\r\nHost: x\r\n');
    beat(socket, () => socket.write('X-A: b\r\n'));
  },
  mute: (socket) => void socket.write(UPGRADE('/v1/session')),
  giant: (socket) => void socket.write(Buffer.concat([Buffer.from(UPGRADE('/v1/session')), GIANT])),
  pings: (socket) => {
    socket.write(UPGRADE('/v1/session'));
    socket.pause(); // never reads the pongs
    beat(socket, () => socket.write(Buffer.alloc(PING.length * 2000, PING)));
  },
  reset: (socket) => {
    socket.write(UPGRADE('/v1/other'), () => socket.resetAndDestroy());
  },
  garbage: (socket) => void socket.write(Buffer.alloc(100_000, 0xa5)),
};

function beat(socket: Socket, work: () => void): void {
  const timer = setInterval(() => socket.writableLength < 1_000_000 && work(), BEAT_MS);
  socket.once('close', () => clearInterval(timer));
}

async function open(behave: Behave): Promise<void> {
  const socket = connect(443, host);
  socket.on('error', () => undefined);
  socket.on('data', () => undefined);
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]);
  behave(socket);
}

const behave = modes[mode];
if (behave === undefined) throw new Error(`no mode "${mode}"`);
for (let made = 0; made < Number(count); made += 1) await open(behave);
process.stdout.write('open\n');
process.stdin.resume().once('end', () => process.exit(0));
