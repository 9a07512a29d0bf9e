/**
 * A scripted stand-in for the API server: HTTPS (or HTTP) with a handler of the test's, and what was asked of it. It says
 * what the test tells it to say; what a real one says is the cluster suites' business.
 */
import {
  createServer as createHttp,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { Server as NetServer, Socket } from 'node:net';
import type { ClusterAccess } from '../../src/kube/access.js';
import { fixedCredentials, type Credentials } from '../../src/kube/credentials.js';
import { createAuthority, type Authority, type Certificate } from './certificates.js';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  /** The client certificate's common name, if one was shown. */
  readonly shown: string | undefined;
  readonly socket: Socket;
}

export type Handler = (asked: Asked, answer: ServerResponse) => void;

export interface TestServer {
  readonly server: Server;
  readonly port: number;
  readonly authority: Authority;
  /** Every request so far. */
  readonly asked: readonly Asked[];
  /** Connections accepted so far. */
  readonly connections: readonly Socket[];
  handle: Handler;
  access(o?: Partial<ClusterAccess>): ClusterAccess;
  close(): Promise<void>;
}

export interface TestServerOptions {
  readonly handle?: Handler;
  readonly plain?: boolean;
  readonly certificate?: Certificate;
  readonly authority?: Authority;
}

/** Starts a server on 127.0.0.1 at a free port. */
export async function openTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const authority = options.authority ?? createAuthority();
  const own =
    options.certificate ?? authority.issue({ name: 'api', hosts: ['127.0.0.1', 'localhost', 'kubernetes'] });
  const asked: Asked[] = [];
  const connections: Socket[] = [];
  const listener: RequestListener = (request, response) =>
    void readAsked(request).then((question) => {
      asked.push(question);
      test.handle(question, response);
    });
  const tls = {
    ...own,
    ca: authority.cert,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
  };
  const server = options.plain === true ? createHttp(listener) : createHttps(tls, listener);
  server.keepAliveTimeout = 60_000;
  server.on('connection', (socket: Socket) => {
    connections.push(socket);
    socket.on('error', () => undefined);
  });
  const port = await listen(server);
  const scheme = options.plain === true ? 'http' : 'https';
  const test: TestServer = {
    server,
    port,
    authority,
    asked,
    connections,
    handle: options.handle ?? ((_asked, answer) => answerJson(answer, 200, {})),
    access: (more = {}) => ({
      context: 'test',
      namespace: 'default',
      server: new URL(`${scheme}://127.0.0.1:${port}`),
      tls: { ca: authority.cert, serverName: undefined, insecure: false },
      proxy: undefined,
      proxyFor: () => undefined,
      credentials: tokenCredentials('good'),
      ...more,
    }),
    async close() {
      for (const socket of connections) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return test;
}

/** Starts a server on 127.0.0.1 and returns its port. */
export async function listen(server: NetServer): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP port');
  return address.port;
}

/** Returns credentials with this token. */
export function tokenCredentials(token: string): Credentials {
  return fixedCredentials({ headers: { authorization: `Bearer ${token}` }, identity: undefined });
}

/** Answers with JSON. */
export function answerJson(
  answer: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  answer.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** Returns a Status object as the API server sends it. */
export function statusObject(code: number, reason: string, message: string) {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code };
}

async function readAsked(request: IncomingMessage): Promise<Asked> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  const url = new URL(request.url ?? '/', 'http://x');
  return {
    method: request.method ?? '',
    path: url.pathname,
    query: url.searchParams,
    headers: request.headers,
    body: Buffer.concat(chunks).toString(),
    shown: shownName(request.socket),
    socket: request.socket,
  };
}

function shownName(socket: Socket): string | undefined {
  if (!('getPeerCertificate' in socket) || typeof socket.getPeerCertificate !== 'function') return undefined;
  const certificate: unknown = socket.getPeerCertificate();
  if (typeof certificate !== 'object' || certificate === null || !('subject' in certificate))
    return undefined;
  const { subject } = certificate;
  if (typeof subject !== 'object' || subject === null || !('CN' in subject)) return undefined;
  return typeof subject.CN === 'string' ? subject.CN : undefined;
}
