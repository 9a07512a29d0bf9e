/**
 * The manager's one port: `GET /healthz` for the kubelet, and `GET /v1/session` upgraded to a websocket for laptops.
 * Any pod may dial it, so a stranger costs little: few at a time (guests.ts), a short time, and nothing is allocated
 * before the handshake has proved a Session's key.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Socket, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { Carrier } from '../tunnel/carrier.js';
import { acceptSession, type SessionKey } from '../tunnel/handshake.js';
import { createWebsocketAcceptor } from '../tunnel/websocket.js';
import { Guests } from './guests.js';
import type { Sessions } from './sessions.js';

const HANDSHAKE_TIMEOUT_MS = 8000;
const HEADERS_TIMEOUT_MS = 5000;
/** How often late requests are looked for. Node's own choice is half a minute. */
const CHECK_EVERY_MS = 1000;

export interface FrontOptions {
  readonly port: number;
  readonly key: SessionKey;
  readonly sessions: Sessions;
  readonly log: Log;
  tune(socket: Socket): void;
  /** Whether the manager can serve: networks known, forwarding prepared. */
  ready(): boolean;
}

export interface Front {
  readonly port: number;
  close(): Promise<void>;
}

/** Listens; resolves when it does. @throws EADDRINUSE, EACCES */
export async function openFront(options: FrontOptions): Promise<Front> {
  const server = createServer({ connectionsCheckingInterval: CHECK_EVERY_MS }, (request, response) =>
    answer(options, request, response),
  );
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = HEADERS_TIMEOUT_MS;
  server.maxRequestsPerSocket = 100;
  const acceptor = createWebsocketAcceptor({ tune: (socket) => options.tune(socket) });
  const guests = new Guests();
  server.on('connection', (socket) => {
    socket.on('error', ignored); // Node takes its own listener away before `upgrade`
    guests.add(socket);
  });
  server.on('upgrade', (request, socket, head) => {
    if (pathOf(request) !== '/v1/session' || !options.ready()) {
      turnAway(socket);
      return;
    }
    acceptor
      .accept(request, socket, head)
      .then((carrier) => greet(options, carrier))
      .then(() => socket instanceof Socket && guests.release(socket))
      .catch((error: unknown) =>
        options.log.info('a laptop was refused', { cause: error, message: messageOf(error) }),
      );
  });
  await listen(server, options.port);
  return { port: portOf(server), close: () => closeServer(server) };
}

async function greet(options: FrontOptions, carrier: Carrier): Promise<void> {
  const accepted = await acceptSession(carrier, {
    key: options.key,
    lookup: (uid) => options.sessions.lookup(uid),
    welcome: (hello, uid, mode) => options.sessions.welcome(hello, uid, mode),
    timeoutMs: HANDSHAKE_TIMEOUT_MS,
  });
  options.sessions.attach(accepted.sessionUid, carrier, accepted.hello.streams);
}

function answer(options: FrontOptions, request: IncomingMessage, response: ServerResponse): void {
  const known = pathOf(request) === '/healthz' && request.method === 'GET';
  const status = known ? (options.ready() ? 200 : 503) : 404;
  response.writeHead(status, { 'content-type': 'text/plain', 'content-length': 0 }).end();
}

function turnAway(socket: Duplex): void {
  const text = 'HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n';
  socket.end(text, () => socket.destroy());
}

/** A connection that fails is over; `close` says so to whom it concerns. */
function ignored(): void {}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?')[0] ?? '/';
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, () => resolve());
  });
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
