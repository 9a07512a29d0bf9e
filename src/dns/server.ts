/**
 * The sockets: UDP and TCP on one address and port, bytes to `handle` and back. By TCP several questions a connection,
 * answered as they are ready; connections, questions under way and idle time are bounded. RFC 7766.
 */
import { createSocket, type SocketOptions, type Socket as UdpSocket } from 'node:dgram';
import { createServer, isIPv6, type Server, type Socket } from 'node:net';
import { CzError, codeOf, messageOf } from '../base/errors.js';
import type { Resolver } from './resolver.js';
import { OWN_PAYLOAD_BYTES } from './answer.js';

export interface DnsServer {
  readonly port: number;
  /** Ends when no socket is left. */
  close(): Promise<void>;
}

export interface DnsServerOptions {
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  readonly handle: Resolver['handle'];
}

/** Our choices; RFC 7766 §6.2.3 asks for idle times of some seconds. */
const CONNECTION_LIMIT = 64;
const IDLE_MS = 10_000;
const UNDER_WAY_LIMIT = 32;
const RECEIVE_BUFFER_BYTES = 1024 * 1024;
const TCP_LIMIT_BYTES = 65_535;

/** Listens until closed. @throws DNS_PORT where the address or the port is not to be had */
export async function openDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const tcp = await listenTcp(options).catch((cause: unknown) => refuse(options, cause));
  const bound = tcp.server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : options.port;
  const udp = await bindUdp({ ...options, port }).catch(async (cause: unknown) => {
    await tcp.close();
    return refuse(options, cause);
  });
  let closing: Promise<void> | undefined;
  return {
    port,
    close: () => (closing ??= Promise.all([tcp.close(), closeUdp(udp)]).then(() => undefined)),
  };
}

function refuse(options: DnsServerOptions, cause: unknown): never {
  const taken = codeOf(cause) === 'EADDRINUSE';
  throw new CzError(
    'DNS_PORT',
    `listening on "${options.address}" port ${options.port}: ${taken ? 'taken by another program' : messageOf(cause)}`,
    { cause, ...(taken ? { hint: `see who has it: ss -lnp 'sport = :${options.port}'` } : {}) },
  );
}

function bindUdp(options: DnsServerOptions): Promise<UdpSocket> {
  const { handle } = options;
  const family = isIPv6(options.address) ? 6 : 4;
  // Addresses to answer are no names: without this Node would take a turn of the event loop for each of them.
  const lookup: NonNullable<SocketOptions['lookup']> = (host, _options, found) => found(null, host, family);
  const socket = createSocket({ type: `udp${family}`, lookup });
  const ignore = () => undefined;
  socket.on('message', (bytes, from) => {
    const answer = handle(bytes, OWN_PAYLOAD_BYTES);
    if (answer === undefined) return;
    if (!(answer instanceof Promise)) return socket.send(answer, from.port, from.address);
    void answer.then((later) => {
      if (later !== undefined && isOpen(socket)) socket.send(later, from.port, from.address);
    });
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(options.port, options.address, () => {
      socket.off('error', reject).on('error', ignore);
      socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
      resolve(socket);
    });
  });
}

const closedSockets = new WeakSet<UdpSocket>();

function isOpen(socket: UdpSocket): boolean {
  return !closedSockets.has(socket);
}

function closeUdp(socket: UdpSocket): Promise<void> {
  closedSockets.add(socket);
  return new Promise((resolve) => socket.close(() => resolve()));
}

function listenTcp(options: DnsServerOptions): Promise<{ server: Server; close(): Promise<void> }> {
  const connections = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    serve(socket, options.handle);
  });
  server.maxConnections = CONNECTION_LIMIT;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of connections) socket.destroy();
    });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.address, () => {
      server.off('error', reject).on('error', () => undefined);
      resolve({ server, close });
    });
  });
}

/** One connection: length, question, length, question … (RFC 1035 §4.2.2). */
function serve(socket: Socket, handle: Resolver['handle']): void {
  let rest: Buffer = Buffer.alloc(0);
  let underWay = 0;
  let asked = false;
  const reply = (answer: Buffer | undefined) => {
    if (answer === undefined || socket.destroyed) return;
    const length = Buffer.alloc(2);
    length.writeUInt16BE(answer.length);
    socket.write(Buffer.concat([length, answer]));
  };
  const advance = () => {
    while (underWay < UNDER_WAY_LIMIT && !socket.writableNeedDrain && rest.length >= 2) {
      const end = 2 + rest.readUInt16BE(0);
      if (rest.length < end) break;
      const answer = handle(rest.subarray(2, end), TCP_LIMIT_BYTES);
      rest = rest.subarray(end);
      if (!(answer instanceof Promise)) {
        reply(answer);
        continue;
      }
      underWay++;
      void answer.then(reply).finally(() => {
        underWay--;
        advance();
      });
    }
    if (asked && underWay === 0 && !socket.writableEnded) socket.end();
    const stuck = underWay >= UNDER_WAY_LIMIT || socket.writableNeedDrain;
    if (stuck) socket.pause();
    else socket.resume();
  };
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('drain', advance);
  socket.on('end', () => {
    asked = true;
    advance();
  });
  socket.on('data', (part) => {
    rest = rest.length === 0 ? part : Buffer.concat([rest, part]);
    advance();
  });
}
