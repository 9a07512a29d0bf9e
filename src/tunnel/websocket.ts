/**
 * The carrier over a websocket: the only importer of `ws`. Dials (through whatever connection it is given) and
 * accepts. On the packet's walk: the last thing before the socket, the first after it. PROTOCOL.md §1.
 */
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import { CzError } from '../base/errors.js';
import { BinaryFrames } from './binary-frames.js';
import { withReusedBuffer } from './reused-buffer.js';
import { MESSAGE_LIMIT_BYTES, codeFromReason, type Carrier, type CarrierListener } from './carrier.js';

/** A closing websocket gets this long for its close frame (our choice: a round trip of nearly any path). */
const CLOSE_TIMEOUT_MS = 500;
/** PROTOCOL.md §1. No end of ours fragments; an intermediary may. */
const MAX_FRAGMENTS = 64;
/** Bytes read of the answer that refuses an upgrade (our choice: a Kubernetes Status is far shorter). */
const REFUSAL_LIMIT_BYTES = 16 * 1024;

const COMMON = {
  perMessageDeflate: false,
  maxPayload: MESSAGE_LIMIT_BYTES,
  maxFragments: MAX_FRAGMENTS,
} as const;

export interface DialOptions {
  /** `wss:` or `https:` says that the connection is TLS already: then the mask is zero. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** Returns the connected socket, TLS done; it is the websocket's from then on. */
  createConnection(): Promise<Duplex>;
  /** Called once with the socket, where it is one of the kernel's. */
  tune(socket: Socket): void;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Default: zero on TLS, random otherwise (PROTOCOL.md §1). */
  readonly mask?: 'zero' | 'random';
}

/**
 * Returns an open carrier.
 * @throws TIMED_OUT · INTERRUPTED by the signal · CREDENTIAL_EXPIRED (401) · NOT_PERMITTED (403) · NOT_FOUND (404) ·
 * MANAGER_UNREACHABLE another answer, or the connection ended; what `createConnection` throws
 */
export async function dialWebsocket(options: DialOptions): Promise<Carrier> {
  const late = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal === undefined ? late : AbortSignal.any([options.signal, late]);
  const aborted = rejectionOf(signal, () => abortError(options, late.aborted));
  const connecting = options.createConnection();
  connecting.then((socket) => signal.aborted && socket.destroy()).catch(() => undefined);
  try {
    const socket = await Promise.race([connecting, aborted.promise]);
    const websocket = startUpgrade(options, socket);
    const carrier = upgraded(websocket, socket, options);
    signal.addEventListener('abort', () => websocket.terminate(), { signal: aborted.done.signal });
    return await Promise.race([carrier, aborted.promise]);
  } finally {
    aborted.done.abort();
  }
}

function startUpgrade(options: DialOptions, socket: Duplex): WebSocket {
  const url = new URL(options.url);
  const secure = url.protocol === 'wss:' || url.protocol === 'https:';
  url.protocol = secure ? 'wss:' : 'ws:';
  const mask = options.mask ?? (secure ? 'zero' : 'random');
  return new WebSocket(url, {
    ...COMMON,
    headers: { ...options.headers },
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Node's http client asks no more of it than a Duplex
    createConnection: () => socket as Socket,
    ...(mask === 'zero' ? { generateMask: () => undefined } : {}), // the mask buffer starts as zero
  });
}

function upgraded(websocket: WebSocket, socket: Duplex, options: DialOptions): Promise<Carrier> {
  return new Promise((resolve, reject) => {
    websocket.once('open', () => {
      if (socket instanceof Socket) options.tune(socket);
      resolve(new WebsocketCarrier(websocket, socket, false));
    });
    websocket.on('error', (cause) => {
      socket.destroy();
      reject(new CzError('MANAGER_UNREACHABLE', `opening the websocket: ${cause.message}`, { cause }));
    });
    websocket.once('unexpected-response', (_request, response) => {
      void readRefusal(response).then((error) => {
        socket.destroy();
        reject(error);
      });
    });
  });
}

export interface WebsocketAcceptor {
  /** Upgrades the request and returns the open carrier. @throws MALFORMED no websocket handshake · LOST the socket ended */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<Carrier>;
}

/** Returns an acceptor for the `upgrade` events of an HTTP server. */
export function createWebsocketAcceptor(options: { tune(socket: Socket): void }): WebsocketAcceptor {
  return {
    accept: (request, accepted, head) =>
      new Promise((resolve, reject) => {
        const socket = withReusedBuffer(accepted);
        const server = new WebSocketServer({ ...COMMON, noServer: true, clientTracking: false });
        server.on('wsClientError', (cause) => {
          socket.destroy();
          reject(new CzError('MALFORMED', `accepting a websocket: ${cause.message}`, { cause }));
        });
        socket.once('close', () => reject(new CzError('LOST', 'the socket ended before its upgrade')));
        server.handleUpgrade(request, socket, head, (websocket) => {
          if (socket instanceof Socket) options.tune(socket);
          resolve(new WebsocketCarrier(websocket, socket, true));
        });
      }),
  };
}

type Held = { readonly text: string } | { readonly binary: Buffer };

class WebsocketCarrier implements Carrier {
  readonly #websocket: WebSocket;
  readonly #socket: Duplex;
  #listener: CarrierListener | undefined;
  /** Messages of a chunk that was already read when nobody listened: bounded by the socket's chunk. */
  #held: Held[] = [];
  #closed: { readonly code: number; readonly reason: string } | undefined;
  #corked = false;
  #closing: NodeJS.Timeout | undefined;
  readonly #uncork = () => {
    this.#corked = false;
    this.#socket.uncork();
  };

  /** `masked`: the peer's frames are, because it dialled. */
  constructor(websocket: WebSocket, socket: Duplex, masked: boolean) {
    this.#websocket = websocket;
    this.#socket = socket;
    websocket.on('message', (data, isBinary) => this.#take(data, isBinary));
    this.#takeBinaryFrames(masked);
    websocket.on('error', () => undefined); // 'close' follows, with the code
    websocket.on('close', (code, reason) => this.#ended(code, codeFromReason(reason.toString())));
    socket.on('drain', () => this.#listener?.drained());
    websocket.pause();
  }

  get unsentBytes(): number {
    return this.#websocket.bufferedAmount;
  }

  get receivedBytes(): number {
    return this.#socket instanceof Socket ? this.#socket.bytesRead : 0;
  }

  sendText(message: string): void {
    if (this.#websocket.readyState !== WebSocket.OPEN) return;
    this.#cork();
    this.#websocket.send(message, noop);
  }

  sendBinary(message: Buffer, done: () => void): void {
    if (this.#websocket.readyState !== WebSocket.OPEN) return;
    this.#cork();
    this.#websocket.send(message, (error) => {
      if (error === undefined || error === null) done();
    });
  }

  listen(listener: CarrierListener | undefined): void {
    this.#listener = listener;
    if (listener === undefined) {
      if (this.#closing === undefined) this.#websocket.pause();
      return;
    }
    const held = this.#held;
    this.#held = [];
    for (const message of held) this.#deliver(message);
    if (this.#closed !== undefined) process.nextTick(() => this.#reportClosed());
    else if (this.#listener !== undefined) this.#websocket.resume();
  }

  close(code: number, reason: string): void {
    if (this.#closed !== undefined || this.#closing !== undefined) return;
    this.#closing = setTimeout(() => this.#websocket.terminate(), CLOSE_TIMEOUT_MS);
    this.#held = [];
    this.#websocket.resume(); // the answering close frame has to be read
    this.#websocket.close(code, codeFromReason(reason));
  }

  terminate(): void {
    this.#websocket.terminate();
  }

  /** What one turn of the event loop sends leaves in one system call. */
  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#socket.cork();
    process.nextTick(this.#uncork);
  }

  /** Stands between the socket and the parser of `ws`, which gets what is not a binary message. */
  #takeBinaryFrames(masked: boolean): void {
    const parsers = this.#socket.listeners('data');
    const frames = new BinaryFrames({
      limitBytes: MESSAGE_LIMIT_BYTES,
      masked,
      binary: (message) => this.#deliver({ binary: message }),
      other: (bytes) => {
        for (const parse of parsers) parse.call(this.#socket, bytes);
      },
    });
    this.#socket.removeAllListeners('data');
    this.#socket.on('data', (chunk: Buffer) => frames.push(chunk));
    // at the end `ws` reads what is left by itself: it would take the rest of a frame for a frame
    this.#socket.prependListener('close', () => {
      const rest: unknown = this.#socket.read();
      if (Buffer.isBuffer(rest)) frames.push(rest);
    });
  }

  #take(data: unknown, isBinary: boolean): void {
    if (!Buffer.isBuffer(data)) return; // binaryType is `nodebuffer`: it always is one
    const message = isBinary ? { binary: data } : { text: data.toString() };
    this.#deliver(message);
  }

  #deliver(message: Held): void {
    if (this.#closing !== undefined) return; // nobody is left to hear it
    if (this.#listener === undefined) this.#held.push(kept(message));
    else if ('text' in message) this.#listener.text(message.text);
    else this.#listener.binary(message.binary);
  }

  #ended(code: number, reason: string): void {
    clearTimeout(this.#closing);
    this.#closed = { code, reason };
    if (this.#held.length === 0) this.#reportClosed();
  }

  #reportClosed(): void {
    const listener = this.#listener;
    if (listener === undefined || this.#closed === undefined) return;
    this.#listener = undefined;
    listener.closed(this.#closed.code, this.#closed.reason);
  }
}

/** A message that outlives its buffer. */
function kept(message: Held): Held {
  return 'text' in message ? message : { binary: Buffer.from(message.binary) };
}

function noop(): void {}

interface Rejection {
  readonly promise: Promise<never>;
  readonly done: AbortController;
}

/** A promise that rejects when the signal aborts, until `done`; never unhandled. */
function rejectionOf(signal: AbortSignal, error: () => Error): Rejection {
  const done = new AbortController();
  const promise = new Promise<never>((_resolve, reject) => {
    if (signal.aborted) reject(error());
    signal.addEventListener('abort', () => reject(error()), { signal: done.signal });
  });
  promise.catch(() => undefined);
  return { promise, done };
}

function abortError(options: DialOptions, late: boolean): CzError {
  const what = `dialling "${options.url.host}"`;
  if (!late) return new CzError('INTERRUPTED', `${what} was interrupted`);
  return new CzError('TIMED_OUT', `${what}: no websocket within ${options.timeoutMs} ms`);
}

const REFUSALS: Readonly<Record<number, string>> = {
  401: 'CREDENTIAL_EXPIRED',
  403: 'NOT_PERMITTED',
  404: 'NOT_FOUND',
};

async function readRefusal(response: IncomingMessage): Promise<CzError> {
  const status = response.statusCode ?? 0;
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > REFUSAL_LIMIT_BYTES) break;
    }
  } catch {
    // what was read until then is said
  }
  const said = messageFromStatus(Buffer.concat(chunks).subarray(0, REFUSAL_LIMIT_BYTES).toString());
  const code = REFUSALS[status] ?? 'MANAGER_UNREACHABLE';
  return new CzError(code, `opening the websocket: answered ${status}${said === '' ? '' : `: ${said}`}`);
}

/** Returns the message of a Kubernetes Status, or the start of any other body, in one printable line. */
function messageFromStatus(body: string): string {
  let message = body;
  try {
    const status: unknown = JSON.parse(body);
    if (typeof status === 'object' && status !== null && 'message' in status)
      message = String(status.message);
  } catch {
    // not JSON: as it is
  }
  return message
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, 500);
}
