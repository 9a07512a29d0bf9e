/**
 * Whether a connection to the API server goes through an HTTP proxy, and which: `proxy-url` of the kubeconfig, else
 * HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the invoker's environment, as Go's net/http reads them (x/net/http/httpproxy).
 * And the way through it: CONNECT. RFC 9110 §9.3.6
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { isIP, BlockList } from 'node:net';
import type { Duplex } from 'node:stream';
import { CzError, messageOf } from '../base/errors.js';

type Env = Readonly<Record<string, string | undefined>>;

/** Returns the proxy for this server, or undefined. @throws KUBECONFIG_INVALID, PROXY_UNSUPPORTED */
export function chooseProxy(server: URL, proxyUrl: string | undefined, env: Env): URL | undefined {
  if (proxyUrl) return parseProxy(proxyUrl, 'proxy-url of the kubeconfig');
  const name = server.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const named = env[name] || env[name.toLowerCase()];
  if (!named || bypassed(server, env['NO_PROXY'] || env['no_proxy'] || '')) return undefined;
  return parseProxy(named.includes('://') ? named : `http://${named}`, name);
}

function parseProxy(text: string, source: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hostname === '')
    throw new CzError('KUBECONFIG_INVALID', `${source}: "${withoutPassword(text)}" is no URL`);
  if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  throw new CzError('PROXY_UNSUPPORTED', `${source}: proxies of kind "${url.protocol}" are not supported`, {
    hint: 'http:// and https:// proxies are',
  });
}

function withoutPassword(text: string): string {
  return text.replace(/\/\/[^@/]*@/, '//');
}

/** Returns whether NO_PROXY names the server: `*`, hosts, `.suffixes`, `host:port`, addresses and networks. */
export function bypassed(server: URL, noProxy: string): boolean {
  const host = hostOf(server).toLowerCase();
  if (host === 'localhost' || isLoopback(host)) return true;
  const port = portOf(server);
  return noProxy
    .split(',')
    .map((rule) => rule.trim().toLowerCase())
    .some((rule) => rule !== '' && matches(rule, host, port));
}

function matches(rule: string, host: string, port: number): boolean {
  if (rule === '*') return true;
  if (rule.includes('/')) return inNetwork(rule, host);
  const [, bare = rule, wantedPort] = /^(.*?)(?::(\d+))?$/.exec(isIP(rule) === 6 ? '' : rule) ?? [];
  if (wantedPort !== undefined && Number(wantedPort) !== port) return false;
  const name = isIP(rule) === 6 ? rule : bare.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0) return host === name;
  const suffix = name.replace(/^\*?\./, '');
  return host.endsWith(`.${suffix}`) || (host === suffix && !/^\*?\./.test(name));
}

function inNetwork(rule: string, host: string): boolean {
  const family = isIP(host);
  const [network = '', prefix = ''] = rule.split('/');
  if (family === 0 || isIP(network) !== family || !/^\d{1,3}$/.test(prefix)) return false;
  const list = new BlockList();
  try {
    list.addSubnet(network, Number(prefix), family === 6 ? 'ipv6' : 'ipv4');
  } catch {
    return false;
  }
  return list.check(host, family === 6 ? 'ipv6' : 'ipv4');
}

function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Returns the host of a URL without the brackets of an IPv6 address. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** Returns the port of a URL, its protocol's own where none is written. */
export function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' || url.protocol === 'wss:' ? 443 : 80;
}

/**
 * Asks the proxy at the other end of `socket` for a connection to `target` and resolves when it stands; from then on
 * the socket's bytes are the target's. @throws API_UNREACHABLE the proxy refused or said nothing that makes sense
 */
export async function connectThrough(
  socket: Duplex,
  proxy: URL,
  target: URL,
  signal: AbortSignal,
): Promise<void> {
  const authority = `${target.hostname}:${portOf(target)}`;
  const user = [proxy.username, proxy.password].map(decodeURIComponent).join(':');
  const authorization = { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` };
  const headers = { host: authority, ...(user === ':' ? {} : authorization) };
  const [answer, head] = await new Promise<[IncomingMessage, Buffer]>((resolve, reject) => {
    const asked = httpRequest({
      method: 'CONNECT',
      path: authority,
      headers,
      signal,
      createConnection: () => socket,
    });
    asked.once('connect', (answer: IncomingMessage, _socket: unknown, head: Buffer) =>
      resolve([answer, head]),
    );
    asked.once('error', reject);
    asked.end();
  }).catch((cause: unknown) => {
    throw new CzError('API_UNREACHABLE', `proxy ${proxy.host}: ${messageOf(cause)}`, { cause });
  });
  if (answer.statusCode !== 200) throw refused(proxy, authority, answer);
  if (head.length > 0) socket.unshift(head);
}

function refused(proxy: URL, authority: string, answer: IncomingMessage): CzError {
  const said = `${answer.statusCode} ${answer.statusMessage ?? ''}`.trim();
  const message = `the proxy ${proxy.host} does not connect to ${authority}: ${said}`;
  const hint =
    answer.statusCode === 407
      ? 'it wants a name and password: http://NAME:PASSWORD@HOST:PORT'
      : 'is it the right proxy?';
  return new CzError('API_UNREACHABLE', message, { hint });
}
