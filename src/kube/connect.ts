/**
 * Opens a connection to the API server: TCP (to the server or its proxy), CONNECT, TLS, all within five seconds, with
 * errors that say which of them failed and why. Requests and the tunnel's websocket both come through here, so the
 * certificate, proxy and credential settings are the same.
 */
import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  connect as connectTls,
  createSecureContext,
  rootCertificates,
  type ConnectionOptions,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { CzError, codeOf, messageOf } from '../base/errors.js';
import type { TlsIdentity } from './credentials.js';
import { connectThrough, hostOf, portOf } from './proxy.js';

/** A connection to the API server, and the TCP socket that carries it (for its descriptor and tuning). */
interface Connection {
  readonly stream: Duplex;
  readonly socket: Socket;
}

/** Where to connect to, and how. */
export interface Endpoint {
  readonly server: URL;
  readonly tls: {
    readonly ca: string | undefined;
    readonly serverName: string | undefined;
    readonly insecure: boolean;
  };
  readonly proxy: URL | undefined;
  /** What errors call it. */
  readonly label: string;
  /** Gets each TCP socket before it is used (for socket options that Node does not have). */
  readonly tune?: ((socket: Socket) => void) | undefined;
}

export interface Connector {
  /** Returns a new connection. @throws API_UNREACHABLE, API_TLS, KUBECONFIG_INVALID */
  connect(identity: TlsIdentity | undefined): Promise<Connection>;
  /** Returns the addresses of the API server, or of its proxy, that have been found so far. */
  remoteAddresses(): string[];
}

/** Until TCP, proxy and TLS stand (issue: an unreachable API server is told within 5 s). */
const CONNECT_TIMEOUT_MS = 4_500;
/** A peer that is gone without a word is found by TCP itself after this idle time plus ten probes a second apart. */
const KEEPALIVE_MS = 5_000;
const ADDRESSES_LIMIT = 64;

/** Returns what opens connections to `endpoint`; `timeoutMs` is for TCP, proxy and TLS together. */
export function createConnector(endpoint: Endpoint, timeoutMs = CONNECT_TIMEOUT_MS): Connector {
  const addresses = new Set<string>();
  const contexts = createContexts(endpoint);
  const lookup = rememberingLookup(addresses);
  const way: Way = { endpoint, lookup, addresses };
  return {
    connect: (identity) => openWithin(timeoutMs, endpoint, (signal) => open(way, contexts(identity), signal)),
    remoteAddresses: () => [...addresses],
  };
}

interface Way {
  readonly endpoint: Endpoint;
  readonly lookup: LookupFunction;
  readonly addresses: Set<string>;
}

async function openWithin(
  timeoutMs: number,
  endpoint: Endpoint,
  opening: (signal: AbortSignal) => Promise<Connection>,
): Promise<Connection> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    return await opening(signal);
  } catch (error) {
    throw connectError(endpoint, error, signal.aborted, timeoutMs);
  }
}

async function open(way: Way, context: SecureContext | undefined, signal: AbortSignal): Promise<Connection> {
  const { endpoint } = way;
  const first = endpoint.proxy ?? endpoint.server;
  const socket = await openTcp(way, first, signal);
  try {
    const outer =
      endpoint.proxy === undefined ? socket : await openProxy(way, socket, endpoint.proxy, signal);
    if (context === undefined) return { stream: outer, socket };
    return { stream: await openTls(outer, tlsOptions(endpoint, context), signal), socket };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function openTcp(way: Way, url: URL, signal: AbortSignal): Promise<Socket> {
  const host = hostOf(url);
  const socket = connectTcp({
    host,
    port: portOf(url),
    lookup: way.lookup,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
  });
  if (isIP(host) !== 0) remember(way.addresses, host);
  await settled(socket, 'connect', signal);
  way.endpoint.tune?.(socket);
  if (socket.remoteAddress !== undefined) remember(way.addresses, socket.remoteAddress);
  return socket;
}

async function openProxy(
  { endpoint }: Way,
  socket: Socket,
  proxy: URL,
  signal: AbortSignal,
): Promise<Duplex> {
  const host = hostOf(proxy);
  const { ca } = endpoint.tls;
  // a company's proxy may have a certificate of the public authorities, or one of those that signed the server's
  const trusted = { ca: [...rootCertificates, ...(ca === undefined ? [] : [ca])] };
  const secure = proxy.protocol === 'https:';
  const outer = secure ? await openTls(socket, { host, ...serverName(host), ...trusted }, signal) : socket;
  await connectThrough(outer, proxy, endpoint.server, signal);
  return outer;
}

async function openTls(below: Duplex, options: ConnectionOptions, signal: AbortSignal): Promise<TLSSocket> {
  const socket = connectTls({ ...options, socket: below, ALPNProtocols: ['http/1.1'] });
  await settled(socket, 'secureConnect', signal);
  return socket;
}

function tlsOptions(endpoint: Endpoint, secureContext: SecureContext): ConnectionOptions {
  const host = endpoint.tls.serverName ?? hostOf(endpoint.server);
  return { host, ...serverName(host), secureContext, rejectUnauthorized: !endpoint.tls.insecure };
}

/** No server name for an address. RFC 6066 §3 */
function serverName(host: string): { servername?: string } {
  return isIP(host) === 0 ? { servername: host } : {};
}

/** Resolves at `event`; else destroys the socket and rejects. */
function settled(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (error: Error | undefined) => {
      signal.removeEventListener('abort', aborted);
      socket.off('error', end).off('close', closed).off(event, done);
      if (error === undefined) return resolve();
      socket.on('error', () => undefined).destroy();
      reject(error);
    };
    const done = () => end(undefined);
    const closed = () => end(new Error('the connection was closed'));
    const aborted = () => end(new Error('timed out'));
    socket.once('error', end).once('close', closed).once(event, done);
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted, { once: true });
  });
}

/** One TLS context per identity: making one parses certificates. The last is kept. */
function createContexts(
  endpoint: Endpoint,
): (identity: TlsIdentity | undefined) => SecureContext | undefined {
  let held: { readonly identity: TlsIdentity | undefined; readonly context: SecureContext } | undefined;
  return (identity) => {
    if (endpoint.server.protocol !== 'https:') return undefined;
    if (held === undefined || held.identity !== identity)
      held = { identity, context: makeContext(endpoint, identity) };
    return held.context;
  };
}

function makeContext(endpoint: Endpoint, identity: TlsIdentity | undefined): SecureContext {
  try {
    const { ca } = endpoint.tls;
    return createSecureContext({ ...identity, ...(ca === undefined ? {} : { ca }) });
  } catch (cause) {
    throw new CzError('KUBECONFIG_INVALID', `the certificates for ${endpoint.label}: ${messageOf(cause)}`, {
      cause,
      hint: 'an encrypted key, or a certificate that does not belong to its key?',
    });
  }
}

/**
 * Returns a lookup that remembers each name's addresses, and gives the last ones while the resolver has no answer: the
 * way back to the API server must not depend on a resolver that is itself cut off.
 */
function rememberingLookup(addresses: Set<string>): LookupFunction {
  const known = new Map<string, LookupAddress[]>();
  return (name, options, done) => {
    systemLookup(name, { ...options, all: true }, (error, found) => {
      const usable = error === null ? found : known.get(name);
      if (usable === undefined || usable[0] === undefined) return done(error, []);
      known.set(name, usable);
      for (const { address } of usable) remember(addresses, address);
      if (options.all === true) done(null, usable);
      else done(null, usable[0].address, usable[0].family);
    });
  };
}

function remember(addresses: Set<string>, address: string): void {
  if (addresses.size < ADDRESSES_LIMIT) addresses.add(address.replace(/^::ffff:(?=\d+\.)/, ''));
}

const UNREACHABLE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'the name does not resolve',
  EAI_AGAIN: 'the name does not resolve (no answer from DNS)',
  EHOSTUNREACH: 'no route to it',
  ENETUNREACH: 'no route to it',
  ETIMEDOUT: 'no answer',
  ECONNRESET: 'it closed the connection',
};

function connectError(endpoint: Endpoint, error: unknown, timedOut: boolean, timeoutMs: number): CzError {
  if (error instanceof CzError && !timedOut) return error;
  const place = `${endpoint.label}, ${hostPort(endpoint.server)}${endpoint.proxy ? ` (by the proxy ${endpoint.proxy.host})` : ''}`;
  const inner = error instanceof AggregateError ? (error.errors[0] ?? error) : error;
  const code = codeOf(inner) ?? '';
  if (!timedOut && isTlsFault(code)) return tlsError(place, code, inner);
  const why = timedOut ? `no answer within ${timeoutMs / 1000} s` : (UNREACHABLE[code] ?? messageOf(inner));
  return new CzError('API_UNREACHABLE', `${place}, cannot be reached: ${why}`, {
    cause: error,
    hint: 'is it up, and the VPN that it may need?',
  });
}

function isTlsFault(code: string): boolean {
  return /^(?:ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|INVALID_CA|EPROTO)/.test(
    code,
  );
}

function tlsError(place: string, code: string, cause: unknown): CzError {
  const untrusted = /^(?:UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|INVALID_CA)/.test(code);
  const hint = untrusted
    ? 'its certificate is not signed by the authority that is trusted for it (certificate-authority in the kubeconfig)'
    : 'is its address right (server and tls-server-name in the kubeconfig)?';
  return new CzError('API_TLS', `TLS with ${place}: ${messageOf(cause)}`, { cause, hint });
}

function hostPort(url: URL): string {
  return `${url.hostname}:${portOf(url)}`;
}
