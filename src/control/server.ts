/**
 * The daemon's end of the control socket. Every caller's uid comes from the kernel; every line, parameter and queue
 * is bounded; a caller that goes away cancels its own calls and nothing else.
 */
import { chmod, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { descriptorOf, peerCredentials } from '../base/addon.js';
import { CzError, codeOf } from '../base/errors.js';
import type { Authorize, Peer } from './access.js';
import { createLineReader, decodeRequest, encodeLine, toWire, type ReplyMessage } from './protocol.js';
import {
  PARAMS,
  RESULTS,
  type MethodName,
  type ParamsOf,
  type ProgressEvent,
  type ResultOf,
} from './schema.js';

/** Connections of one user at a time (our choice): another user's cannot crowd out the owner's. */
const CONNECTIONS_PER_UID = 32;
/** Calls in flight on one connection (our choice). */
const CALLS_PER_CONNECTION = 16;
/** Unsent bytes after which a caller that does not read is cut off. */
const UNSENT_LIMIT_BYTES = 16 * 1024 * 1024;

/** How long a caller may take to read its last answer when the daemon ends. */
const FLUSH_TIMEOUT_MS = 500;

/** What a handler gets besides its parameters. */
export interface Call {
  readonly peer: Peer;
  /** Aborts when the caller cancels or goes away. */
  readonly signal: AbortSignal;
  /** Sends an event to the caller; nothing happens once it is gone. */
  emit(event: ProgressEvent): void;
}

/** A function for each method; what it throws reaches the caller as code, message and hint. */
export type Handlers = {
  readonly [M in MethodName]: (params: ParamsOf<M>, call: Call) => Promise<ResultOf<M>>;
};

export interface ControlServerOptions {
  readonly path: string;
  readonly authorize: Authorize;
  readonly handlers: Handlers;
  /** Who is at the other end; default: SO_PEERCRED by the addon. */
  readonly peerOf?: (socket: Socket) => Peer;
}

export interface ControlServer {
  /**
   * Takes no more calls, lets what was answered reach its callers, ends the connections, removes the socket.
   * Idempotent.
   */
  close(): Promise<void>;
}

/**
 * Listens on the path, mode 0666. A socket that nobody listens on any more is replaced.
 * @throws CONFLICT somebody listens there
 */
export async function openControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const { path } = options;
  await removeStale(path);
  const connections = new Map<Socket, Peer>();
  const server = createServer((socket) => accept(socket, connections, options));
  await listen(server, path);
  await chmod(path, 0o666); // who may call is decided by uid, after the connection
  let closed: Promise<void> | undefined;
  return {
    close() {
      closed ??= closeServer(server, connections);
      return closed;
    },
  };
}

function accept(socket: Socket, connections: Map<Socket, Peer>, options: ControlServerOptions): void {
  socket.on('error', () => undefined); // the caller went away; `close` follows
  const peer = peerOrRefuse(socket, options.peerOf ?? peerOfSocket);
  if (peer === undefined) return;
  const ofSameUser = [...connections.values()].filter(({ uid }) => uid === peer.uid).length;
  if (ofSameUser >= CONNECTIONS_PER_UID) {
    refuse(socket, new CzError('BUSY', 'too many connections to the daemon'));
    return;
  }
  connections.set(socket, peer);
  const calls = new Map<number, AbortController>();
  const read = createLineReader((line) => takeLine(line, socket, peer, calls, options));
  socket.on('data', (chunk: Buffer) => {
    try {
      read(chunk);
    } catch (error) {
      refuse(socket, error);
    }
  });
  socket.once('close', () => {
    connections.delete(socket);
    for (const call of calls.values()) call.abort();
  });
}

function peerOrRefuse(socket: Socket, peerOf: (socket: Socket) => Peer): Peer | undefined {
  try {
    return peerOf(socket);
  } catch (error) {
    refuse(socket, error);
    return undefined;
  }
}

function peerOfSocket(socket: Socket): Peer {
  const fd = descriptorOf(socket);
  if (fd === undefined) throw new CzError('NOT_PERMITTED', 'the caller cannot be identified');
  return peerCredentials(fd);
}

function takeLine(
  line: string,
  socket: Socket,
  peer: Peer,
  calls: Map<number, AbortController>,
  options: ControlServerOptions,
): void {
  const message = decodeRequest(line);
  const { id } = message;
  if ('cancel' in message) return calls.get(id)?.abort();
  if (calls.has(id)) throw new CzError('MALFORMED', `call ${id} runs already`);
  if (calls.size >= CALLS_PER_CONNECTION) {
    return send(socket, { id, error: toWire(new CzError('BUSY', 'too many calls at once')) });
  }
  const abort = new AbortController();
  calls.set(id, abort);
  const emit = (event: ProgressEvent) => send(socket, { id, event });
  void answer(message.method, message.params, { peer, signal: abort.signal, emit }, options)
    .then(
      (result) => send(socket, { id, result }),
      (error: unknown) => send(socket, { id, error: toWire(error) }),
    )
    .finally(() => calls.delete(id));
}

async function answer(
  method: string,
  params: unknown,
  call: Call,
  { authorize, handlers }: ControlServerOptions,
): Promise<unknown> {
  if (!isMethod(method)) throw unknownMethod(method);
  authorize(call.peer, method);
  return run(method, params, call, handlers);
}

async function run<M extends MethodName>(
  method: M,
  params: unknown,
  call: Call,
  handlers: Handlers,
): Promise<ResultOf<M>> {
  const result = await handlers[method](PARAMS[method](params, 'params'), call);
  return RESULTS[method](result, 'result');
}

function isMethod(method: string): method is MethodName {
  return Object.hasOwn(PARAMS, method);
}

function unknownMethod(method: string): CzError {
  return new CzError('VERSION_MISMATCH', `the daemon does not know "${method}"`, {
    hint: 'it runs another version of cz: cz disconnect, then connect again',
  });
}

function send(socket: Socket, message: ReplyMessage): void {
  if (!socket.writable) return;
  socket.write(encodeLine(message));
  if (socket.writableLength > UNSENT_LIMIT_BYTES) socket.destroy();
}

function refuse(socket: Socket, error: unknown): void {
  socket.pause();
  if (socket.writable) socket.end(encodeLine({ error: toWire(error) }), () => socket.destroy());
}

async function removeStale(path: string): Promise<void> {
  if (await answers(path)) throw new CzError('CONFLICT', `a daemon listens on "${path}" already`);
  await rm(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(listenFailure(path, cause)));
    server.listen(path, () => resolve());
  });
}

function listenFailure(path: string, cause: Error): CzError {
  const code = codeOf(cause) === 'EADDRINUSE' ? 'CONFLICT' : 'CONTROL_FAILED';
  return new CzError(code, `listening on "${path}": ${cause.message}`, { cause });
}

async function closeServer(server: Server, connections: ReadonlyMap<Socket, Peer>): Promise<void> {
  const ended = new Promise<void>((resolve) => server.close(() => resolve()));
  const cutOff = setTimeout(() => {
    for (const socket of connections.keys()) socket.destroy();
  }, FLUSH_TIMEOUT_MS);
  for (const socket of connections.keys()) socket.end(() => socket.destroy());
  await ended;
  clearTimeout(cutOff);
}
