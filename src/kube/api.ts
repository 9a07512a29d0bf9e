/**
 * The Kubernetes API as the other rooms use it: objects in, objects out, errors with codes, watches, and connections for
 * the tunnel. A thin front over transport, watch and connect.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CzError } from '../base/errors.js';
import { VERSION } from '../base/version.js';
import type { ClusterAccess } from './access.js';
import { createConnector, type Connector } from './connect.js';
import type { RequestHeaders, TlsIdentity } from './credentials.js';
import { withQuery } from './path.js';
import { apiObject } from './shape.js';
import { createTransport, type Transport, type TransportRequest } from './transport.js';
import { startWatch, type Watch, type WatchOptions } from './watch.js';

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** Default 30 s. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** `apply` is server-side apply and wants a field manager. */
type PatchKind = 'merge' | 'apply' | 'json';

interface PatchOptions extends CallOptions {
  readonly fieldManager?: string;
  readonly force?: boolean;
}

interface RemoveOptions extends CallOptions {
  /** Only this very object: another one of the same name is a CONFLICT. */
  readonly uid?: string;
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan';
  readonly gracePeriodSeconds?: number;
}

/** Paths are made with the tag `apiPath`. Every call may throw the codes of status.ts, transport.ts and connect.ts. */
export interface KubeApi {
  readonly access: ClusterAccess;
  /** Returns the object, or the list, at this path. */
  get<T>(path: string, options?: CallOptions): Promise<T>;
  /** Returns the body at this path as text (a pod's log). */
  getText(path: string, options?: CallOptions): Promise<string>;
  /** Returns the object as it was stored. Sent once: never again on a broken connection. */
  create<T>(path: string, body: unknown, options?: CallOptions): Promise<T>;
  /** Returns the object as it was stored. */
  patch<T>(path: string, body: unknown, kind: PatchKind, options?: PatchOptions): Promise<T>;
  remove(path: string, options?: RemoveOptions): Promise<void>;
  /** Follows the collection at this path until closed. */
  watch<T>(path: string, options: WatchOptions<T>): Watch<T>;
  /** Returns what a websocket to this path needs. Opens nothing yet. */
  dial(path: string): Dial;
  /** Returns what a websocket to a URL of the user's own needs; that place gets no credential. @throws USAGE */
  dialUrl(url: URL): Dial;
  /** To be called when the way was lost: forgets kept connections, which may be dead; the next request opens a new one. */
  refresh(): void;
  /** Closes all connections of requests and watches; those given out by `dial` belong to their takers. Idempotent. */
  close(): void;
}

/** A way to open a websocket to the API server with the same TLS, proxy and credential as the requests. */
export interface Dial {
  /** `wss:` (or `ws:` for a plain server). */
  readonly url: URL;
  /** Returns the headers of the upgrade request: who asks. */
  headers(): Promise<RequestHeaders>;
  /** Returns a connected TLS (or plain) stream, ALPN http/1.1; `socketBeneath` gives its TCP socket. */
  createConnection(): Promise<Duplex>;
  /** Returns the addresses of the API server and of its proxy that are in use or may be. */
  remoteAddresses(): string[];
  /** To be called after a 401: returns whether there is a newer credential to try with. */
  renew(): Promise<boolean>;
}

const CALL_TIMEOUT_MS = 30_000;
const USER_AGENT = `cz/${VERSION}`;

const CONTENT_TYPES: Readonly<Record<PatchKind, string>> = {
  merge: 'application/merge-patch+json',
  apply: 'application/apply-patch+yaml', // JSON is YAML
  json: 'application/json-patch+json',
};

export interface ApiOptions {
  /** Gets each TCP socket before it is used: TCP_USER_TIMEOUT and the like, which Node cannot set. */
  readonly tune?: (socket: Socket) => void;
}

/** Returns the API behind `access`; opens nothing yet. */
export function openApi(access: ClusterAccess, { tune }: ApiOptions = {}): KubeApi {
  const label = `the API server of context "${access.context}"`;
  const connector = createConnector({ ...access, label, tune });
  const transport = createTransport(access, connector, USER_AGENT);
  const call = async <T>(method: TransportRequest['method'], path: string, o: CallOptions & Payload = {}) =>
    apiObject<T>(parse(await send(transport, method, path, o), path), path);
  return {
    access,
    get: (path, options) => call('GET', path, options),
    getText: async (path, options) => (await send(transport, 'GET', path, options)).toString('utf8'),
    create: (path, body, options) => call('POST', path, { ...options, body: JSON.stringify(body) }),
    patch: (path, body, kind, options = {}) => call('PATCH', path, patchOptions(body, kind, options)),
    remove: async (path, options = {}) => {
      await send(transport, 'DELETE', path, { ...options, body: JSON.stringify(deleteOptions(options)) });
    },
    watch: (path, options) => startWatch(transport, access, path, options),
    dial: (path) => dialApi(access, connector, path),
    dialUrl: (url) => dialUrl(access, url),
    refresh: () => transport.refresh(),
    close: () => transport.close(),
  };
}

interface Payload {
  readonly body?: string;
  readonly contentType?: string;
}

function send(
  transport: Transport,
  method: TransportRequest['method'],
  path: string,
  { query, timeoutMs = CALL_TIMEOUT_MS, signal, body, contentType }: CallOptions & Payload = {},
): Promise<Buffer> {
  return transport.send({
    method,
    path: withQuery(path, query),
    timeoutMs,
    signal,
    ...(body === undefined ? {} : { body }),
    ...(contentType === undefined ? {} : { contentType }),
  });
}

function parse(body: Buffer, path: string): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new CzError('API_FAILED', `${path}: the API server sent no JSON`, { cause });
  }
}

function patchOptions(body: unknown, kind: PatchKind, { fieldManager, force, query, ...rest }: PatchOptions) {
  const more = { fieldManager, force: force === undefined ? undefined : String(force) };
  return {
    ...rest,
    query: { ...query, ...more },
    body: JSON.stringify(body),
    contentType: CONTENT_TYPES[kind],
  };
}

function deleteOptions({ uid, propagation, gracePeriodSeconds }: RemoveOptions) {
  return {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    ...(uid === undefined ? {} : { preconditions: { uid } }),
    ...(propagation === undefined ? {} : { propagationPolicy: propagation }),
    ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
  };
}

/** TCP sockets of the streams given out, for as long as these live. */
const beneath = new WeakMap<Duplex, Socket>();

/** Returns the TCP socket that carries a stream of `createConnection`. */
export function socketBeneath(stream: Duplex): Socket | undefined {
  return beneath.get(stream);
}

function dialApi(access: ClusterAccess, connector: Connector, path: string): Dial {
  const url = new URL(access.server.href.replace(/^http/, 'ws'));
  url.pathname = access.server.pathname.replace(/\/$/, '') + withQuery(path);
  const { credentials } = access;
  return {
    url,
    headers: async () => ({ 'user-agent': USER_AGENT, ...(await credentials.current()).headers }),
    createConnection: async () => openStream(connector, (await credentials.current()).identity),
    remoteAddresses: () => connector.remoteAddresses(),
    renew: async () => credentials.renew(await credentials.current()),
  };
}

function dialUrl(access: ClusterAccess, url: URL): Dial {
  if (url.protocol !== 'wss:' && url.protocol !== 'ws:')
    throw new CzError('USAGE', `"${url.href}" is no wss:// URL`);
  const server = new URL(url.href.replace(/^ws/, 'http'));
  const tls = { ca: undefined, serverName: undefined, insecure: false };
  const connector = createConnector({ server, tls, proxy: access.proxyFor(server), label: 'the manager' });
  return {
    url,
    headers: () => Promise.resolve({ 'user-agent': USER_AGENT }),
    createConnection: () => openStream(connector, undefined),
    remoteAddresses: () => connector.remoteAddresses(),
    renew: () => Promise.resolve(false),
  };
}

async function openStream(connector: Connector, identity: TlsIdentity | undefined): Promise<Duplex> {
  const { stream, socket } = await connector.connect(identity);
  beneath.set(stream, socket);
  return stream;
}
