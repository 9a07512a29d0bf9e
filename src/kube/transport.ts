/**
 * HTTP/1.1 requests to the API server over kept connections: bounded bodies, time limits, one renewal of the credential
 * after a 401, one more try where a kept connection had died, and patience where the server asks for it (429).
 */
import { setMaxListeners } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { pause } from '../base/backoff.js';
import { CzError, codeOf, messageOf } from '../base/errors.js';
import type { ClusterAccess } from './access.js';
import type { Connector } from './connect.js';
import type { Credential, TlsIdentity } from './credentials.js';
import { hostOf, portOf } from './proxy.js';
import { apiError } from './status.js';

export interface TransportRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With its query, below the server's own path. */
  readonly path: string;
  readonly body?: string;
  readonly contentType?: string;
  /** Until the whole answer is there; for a stream: until it begins. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Transport {
  /** Returns the body of a 2xx answer. @throws ApiError, API_UNREACHABLE, TIMED_OUT, INTERRUPTED … */
  send(request: TransportRequest): Promise<Buffer>;
  /** Returns a 2xx answer whose body the caller reads, and destroys. */
  open(request: TransportRequest): Promise<IncomingMessage>;
  /** Forgets the kept connections: the next request opens a new one. What is under way goes on. */
  refresh(): void;
  /** Aborts at close(). */
  readonly closed: AbortSignal;
  close(): void;
}

/** The largest body taken, in bytes (our choice: a page of 500 objects of 128 KiB). */
const BODY_LIMIT_BYTES = 64 * 1024 * 1024;
/** A kept connection is not used again after this idle time (the API server's own limit is three minutes). */
const IDLE_MS = 60_000;
/**
 * Requests at once (our choice). Node's agent does not count connections that are still being opened, so its own limit
 * would not hold. Watches count until they are open.
 */
const AT_ONCE = 16;
const BUSY_TRIES = 3;
const BUSY_WAIT_LIMIT_MS = 5_000;

/** Returns a transport that opens its connections by `connector`; `userAgent` is what the audit log shows. */
export function createTransport(access: ClusterAccess, connector: Connector, userAgent: string): Transport {
  const closing = new AbortController();
  setMaxListeners(0, closing.signal); // one for each request under way: the sockets bound them
  const agents = createAgents(connector);
  const exchange: Exchange = async (request, credential) => {
    const agent = agents.of(credential.identity);
    return begin({ access, agent, userAgent, closing: closing.signal, credential, request });
  };
  const ask = (request: TransportRequest) => askPatiently(access, exchange, request);
  const gate = createGate(AT_ONCE);
  return {
    send: (request) =>
      gate(async () => {
        const answer = await ask(request);
        return within(answer, () => readBody(answer.message));
      }),
    open: (request) =>
      gate(async () => {
        const answer = await ask(request);
        answer.endTimeout();
        return answer.message;
      }),
    refresh: () => agents.refresh(),
    closed: closing.signal,
    close() {
      closing.abort();
      agents.close();
    },
  };
}

/** Lets `limit` tasks run at once; the others wait their turn. */
function createGate(limit: number): <T>(task: () => Promise<T>) => Promise<T> {
  let free = limit;
  const waiting: (() => void)[] = [];
  return async (task) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}

/** An answer whose head is there, still under the request's time limit. */
interface Answer {
  readonly message: IncomingMessage;
  /** Ends the time limit; the abort signals still count until the message ends. */
  endTimeout(): void;
  /** Returns the error to report instead of a plain broken connection, if a limit or signal broke it. */
  reasonOf(error: unknown): unknown;
}

type Exchange = (request: TransportRequest, credential: Credential) => Promise<Answer>;

async function askPatiently(
  access: ClusterAccess,
  exchange: Exchange,
  request: TransportRequest,
): Promise<Answer> {
  let credential = await access.credentials.current();
  for (let renewed = false, busy = 0; ;) {
    const answer = await exchange(request, credential);
    const status = answer.message.statusCode ?? 0;
    if (status >= 200 && status < 300) return answer;
    const body = await within(answer, () => readBody(answer.message));
    if (status === 401 && !renewed && (await access.credentials.renew(credential))) {
      renewed = true;
      credential = await access.credentials.current();
    } else if (status === 429 && busy < BUSY_TRIES) {
      busy += 1;
      await pause(retryAfterMs(answer.message), request.signal);
    } else {
      const asked = `${request.method} ${request.path.split('?')[0]}`;
      const { identity } = credential;
      throw apiError({ access, identity, httpStatus: status, body: body.toString('utf8'), asked });
    }
  }
}

function retryAfterMs(answer: IncomingMessage): number {
  const seconds = Number(answer.headers['retry-after'] ?? 1);
  return Math.min(Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 1000, BUSY_WAIT_LIMIT_MS);
}

async function within<T>(answer: Answer, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw answer.reasonOf(error);
  } finally {
    answer.endTimeout();
  }
}

interface Beginning {
  readonly access: ClusterAccess;
  readonly agent: Agent;
  readonly userAgent: string;
  readonly closing: AbortSignal;
  readonly credential: Credential;
  readonly request: TransportRequest;
}

/** Sends the request and resolves when the answer's head is there. */
async function begin(o: Beginning): Promise<Answer> {
  const limits = createLimits(o);
  try {
    const message = await sendOnce(o, limits.signal).catch((error: unknown) => {
      if (error instanceof StaleConnection && !limits.signal.aborted) return sendOnce(o, limits.signal);
      throw error;
    });
    message.once('close', () => limits.end());
    return { message, ...limits };
  } catch (error) {
    limits.end();
    throw limits.reasonOf(error);
  }
}

/** A kept connection had died: nothing of an answer came, and asking again does no harm. */
class StaleConnection extends Error {}

function sendOnce(o: Beginning, signal: AbortSignal): Promise<IncomingMessage> {
  const { request, access } = o;
  return new Promise((resolve, reject) => {
    const sent = httpRequest({
      method: request.method,
      host: hostOf(access.server),
      port: portOf(access.server),
      path: access.server.pathname.replace(/\/$/, '') + request.path,
      headers: headersOf(o),
      agent: o.agent,
      signal,
    });
    sent.once('response', resolve);
    sent.once('error', (error) => {
      const stale =
        sent.reusedSocket && request.method !== 'POST' && error instanceof Error && isReset(error);
      reject(stale ? new StaleConnection(error.message, { cause: error }) : error);
    });
    // a request that still waits for its connection tells of its end only when it has one
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
    sent.end(request.body);
  });
}

function isReset(error: Error): boolean {
  return codeOf(error) === 'ECONNRESET' || codeOf(error) === 'EPIPE';
}

function headersOf({ access, userAgent, credential, request }: Beginning) {
  const { body, contentType = 'application/json' } = request;
  const length = { 'content-type': contentType, 'content-length': Buffer.byteLength(body ?? '') };
  return {
    host: access.server.host,
    accept: 'application/json',
    'user-agent': userAgent,
    ...(body === undefined ? {} : length),
    ...credential.headers,
  };
}

/** The time limit and the two signals that can end a request, as one signal that leaves no listener behind. */
function createLimits({ access, closing, request }: Beginning) {
  const controller = new AbortController();
  let timedOut = false;
  const abort = () => controller.abort();
  const timer = setTimeout(() => {
    timedOut = true;
    abort();
  }, request.timeoutMs);
  const signals = [closing, ...(request.signal === undefined ? [] : [request.signal])];
  for (const signal of signals) {
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  }
  return {
    signal: controller.signal,
    endTimeout: () => clearTimeout(timer),
    end: () => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener('abort', abort);
    },
    reasonOf: (error: unknown) => requestError(access, request, error, timedOut, controller.signal.aborted),
  };
}

function requestError(
  access: ClusterAccess,
  request: TransportRequest,
  error: unknown,
  timedOut: boolean,
  aborted: boolean,
): unknown {
  if (error instanceof CzError) return error;
  const asked = `${request.method} ${request.path.split('?')[0]}`;
  if (timedOut)
    return new CzError('TIMED_OUT', `${asked}: no answer within ${request.timeoutMs / 1000} s`, {
      cause: error,
    });
  if (aborted) return new CzError('INTERRUPTED', `${asked} was interrupted`, { cause: error });
  const why = error instanceof StaleConnection ? 'it closed the connection' : messageOf(error);
  return new CzError('API_UNREACHABLE', `the API server ${access.server.host} broke off: ${why}`, {
    cause: error,
  });
}

async function readBody(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size > BODY_LIMIT_BYTES) throw new CzError('API_FAILED', 'the API server sent more than 64 MiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** One agent per TLS identity; a new identity leaves the old connections to their running requests. */
function createAgents(connector: Connector) {
  let held: { readonly identity: TlsIdentity | undefined; readonly agent: Agent } | undefined;
  return {
    of(identity: TlsIdentity | undefined): Agent {
      if (held !== undefined && held.identity === identity) return held.agent;
      if (held !== undefined) retire(held.agent);
      const agent = createAgent(connector, identity);
      held = { identity, agent };
      return agent;
    },
    refresh() {
      if (held !== undefined) retire(held.agent);
      held = undefined;
    },
    close() {
      held?.agent.destroy();
    },
  };
}

/** Node's agent, over connections of ours (nodejs.org, http, agent.createConnection). */
function createAgent(connector: Connector, identity: TlsIdentity | undefined): Agent {
  const agent = new Agent({
    keepAlive: true,
    keepAliveMsecs: 10_000,
    timeout: IDLE_MS,
    scheduling: 'lifo',
  });
  return Object.assign(agent, {
    createConnection(_options: unknown, done: (error: unknown, stream?: Duplex) => void): void {
      connector.connect(identity).then(
        ({ stream }) => done(null, stream),
        (error: unknown) => done(error),
      );
    },
  });
}

/** Lets the agent keep no connection that becomes free from now on. */
function retire(agent: Agent): void {
  agent.maxFreeSockets = 0;
  for (const sockets of Object.values(agent.freeSockets))
    for (const socket of sockets ?? []) socket.destroy();
}
