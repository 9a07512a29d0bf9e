/**
 * Requests to a scripted API server over real sockets: what is sent, what refusals become, and what happens when the
 * credential, the connection or the server itself fails.
 */
import assert from 'node:assert/strict';
import { createServer, connect, type Server } from 'node:net';
import { after, test } from 'node:test';
import { codeOf, type CzError } from '../../src/base/errors.js';
import { openApi, socketBeneath, type KubeApi } from '../../src/kube/api.js';
import type { ClusterAccess } from '../../src/kube/access.js';
import { createConnector } from '../../src/kube/connect.js';
import type { Credential, Credentials } from '../../src/kube/credentials.js';
import { apiPath } from '../../src/kube/path.js';
import {
  answerJson,
  listen,
  openTestServer,
  statusObject,
  tokenCredentials,
  type Handler,
  type TestServer,
} from '../support/api-server.js';
import { waitFor } from '../support/wait-for.js';
import { createAuthority, type Authority } from '../support/certificates.js';

const closers: (() => unknown)[] = [];
after(async () => {
  for (const close of closers.reverse()) await close();
});

async function start(
  handle?: Handler,
  access?: Partial<ClusterAccess>,
): Promise<{ api: KubeApi; server: TestServer }> {
  const server = await openTestServer(handle === undefined ? {} : { handle });
  const api = openApi(server.access(access));
  closers.push(
    () => server.close(),
    () => api.close(),
  );
  return { api, server };
}

const PODS = apiPath`/api/v1/namespaces/${'shop'}/pods`;

test('a request carries user agent, token and query, and a second one goes over the same connection', async () => {
  const { api, server } = await start((_asked, answer) =>
    answerJson(answer, 200, { kind: 'PodList', items: [] }),
  );
  const list = await api.get<{ kind: string }>(PODS, {
    query: { labelSelector: 'a=b,c!=d', limit: undefined },
  });
  await api.get(PODS);
  assert.equal(list.kind, 'PodList');
  const [first] = server.asked;
  assert.equal(first?.path, '/api/v1/namespaces/shop/pods');
  assert.deepEqual([...(first?.query ?? [])], [['labelSelector', 'a=b,c!=d']]);
  assert.match(first?.headers['user-agent'] ?? '', /^cz\/\d+\.\d+\.\d+$/);
  assert.equal(first?.headers.authorization, 'Bearer good');
  assert.equal(server.connections.length, 1);
});

test('many requests at once share the connections and leave no listener behind', async () => {
  const { api, server } = await start();
  const warnings: string[] = [];
  const warned = (warning: Error) => warnings.push(warning.message);
  process.on('warning', warned);
  await Promise.all(Array.from({ length: 200 }, () => api.get(PODS)));
  await new Promise(setImmediate);
  process.off('warning', warned);
  assert.deepEqual(warnings, []);
  assert.ok(server.connections.length <= 16, `${server.connections.length} connections`);
});

test('create, patch and remove send what Kubernetes expects', async () => {
  const { api, server } = await start((_asked, answer) =>
    answerJson(answer, 200, { metadata: { name: 'x' } }),
  );
  await api.create(PODS, { kind: 'Pod' });
  await api.patch(`${PODS}/x`, { a: 1 }, 'merge');
  await api.patch(`${PODS}/x`, { a: 1 }, 'apply', { fieldManager: 'cz', force: true });
  await api.remove(`${PODS}/x`, { uid: 'u-1', propagation: 'Foreground', gracePeriodSeconds: 0 });
  const lines = server.asked.map(({ method, query, headers }) => [
    method,
    query.toString(),
    headers['content-type'],
  ]);
  assert.deepEqual(lines, [
    ['POST', '', 'application/json'],
    ['PATCH', '', 'application/merge-patch+json'],
    ['PATCH', 'fieldManager=cz&force=true', 'application/apply-patch+yaml'],
    ['DELETE', '', 'application/json'],
  ]);
  assert.deepEqual(JSON.parse(server.asked[3]?.body ?? ''), {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    preconditions: { uid: 'u-1' },
    propagationPolicy: 'Foreground',
    gracePeriodSeconds: 0,
  });
});

test('a server below a path of a bigger host (as Rancher has it) is asked there', async () => {
  const { server } = await start();
  const api = openApi(
    server.access({ server: new URL(`https://127.0.0.1:${server.port}/k8s/clusters/c-1/`) }),
  );
  closers.push(() => api.close());
  await api.get(PODS);
  assert.equal(server.asked[0]?.path, '/k8s/clusters/c-1/api/v1/namespaces/shop/pods');
  assert.equal(api.dial('/x').url.href, `wss://127.0.0.1:${server.port}/k8s/clusters/c-1/x`);
});

test('a client certificate is shown', async () => {
  const server = await openTestServer();
  const identity = server.authority.issue({ name: 'jane', groups: ['dev'] });
  const credentials: Credentials = {
    current: () => Promise.resolve({ headers: {}, identity }),
    renew: () => Promise.resolve(false),
  };
  const api = openApi(server.access({ credentials }));
  closers.push(
    () => server.close(),
    () => api.close(),
  );
  await api.get(PODS);
  assert.equal(server.asked[0]?.shown, 'jane');
});

const REFUSALS: readonly [number, string, string][] = [
  [401, 'Unauthorized', 'CREDENTIAL_EXPIRED'],
  [403, 'Forbidden', 'NOT_PERMITTED'],
  [404, 'NotFound', 'NOT_FOUND'],
  [409, 'AlreadyExists', 'CONFLICT'],
  [422, 'Invalid', 'INVALID'],
  [500, 'InternalError', 'API_FAILED'],
];

for (const [code, reason, expected] of REFUSALS) {
  test(`${code} ${reason} becomes ${expected} with the Status message`, async () => {
    const { api } = await start((_asked, answer) =>
      answerJson(answer, code, statusObject(code, reason, 'as it is')),
    );
    await assert.rejects(api.get(PODS), (error: CzError & { reason?: string }) => {
      assert.equal(error.code, expected);
      assert.equal(error.reason, reason);
      if (code !== 401) assert.equal(error.message, 'as it is');
      return true;
    });
  });
}

test('after a 401 the credential is renewed once, and the request sent again', async () => {
  let token = 'old';
  const credentials: Credentials = {
    current: () => tokenCredentials(token).current(),
    renew: () => {
      token = 'new';
      return Promise.resolve(true);
    },
  };
  const handle: Handler = ({ headers }, answer) =>
    headers.authorization === 'Bearer new'
      ? answerJson(answer, 201, { ok: true })
      : answerJson(answer, 401, statusObject(401, 'Unauthorized', 'Unauthorized'));
  const { api, server } = await start(handle, { credentials });
  assert.deepEqual(await api.create(PODS, {}), { ok: true });
  assert.equal(server.asked.length, 2);
});

test('a credential that stays refused is asked for twice, no more', async () => {
  const credentials: Credentials = { ...tokenCredentials('bad'), renew: () => Promise.resolve(true) };
  const { api, server } = await start((_asked, answer) => answerJson(answer, 401, {}), { credentials });
  await assert.rejects(api.get(PODS), { code: 'CREDENTIAL_EXPIRED' });
  assert.equal(server.asked.length, 2);
});

test('a new client certificate gets new connections', async () => {
  const server = await openTestServer({
    handle: ({ shown }, answer) => answerJson(answer, shown === 'second' ? 200 : 401, {}),
  });
  const [first, second] = ['first', 'second'].map((name): Credential => {
    return { headers: {}, identity: server.authority.issue({ name }) };
  });
  let now = first;
  const credentials: Credentials = {
    current: () => (now === undefined ? Promise.reject(new Error('none')) : Promise.resolve(now)),
    renew: () => {
      now = second;
      return Promise.resolve(true);
    },
  };
  const api = openApi(server.access({ credentials }));
  closers.push(
    () => server.close(),
    () => api.close(),
  );
  await api.get(PODS);
  assert.deepEqual(
    server.asked.map(({ shown }) => shown),
    ['first', 'second'],
  );
});

test('an expired client certificate is named with the day it ended', async () => {
  const server = await openTestServer({ handle: (_asked, answer) => answerJson(answer, 401, {}) });
  const until = new Date('2020-02-03T04:05:06Z');
  const identity = server.authority.issue({ name: 'jane', from: new Date('2019-01-01T00:00:00Z'), until });
  const credentials: Credentials = {
    current: () => Promise.resolve({ headers: {}, identity }),
    renew: () => Promise.resolve(false),
  };
  const api = openApi(server.access({ credentials }));
  closers.push(
    () => server.close(),
    () => api.close(),
  );
  await assert.rejects(api.get(PODS), { code: 'CREDENTIAL_EXPIRED', message: /2020-02-03T04:05:06Z/ });
});

test('a busy server (429) is asked again after the time it names', async () => {
  let refusals = 1;
  const { api, server } = await start((_asked, answer) =>
    refusals-- > 0
      ? answerJson(answer, 429, {}, { 'retry-after': '0.05' })
      : answerJson(answer, 200, { ok: true }),
  );
  assert.deepEqual(await api.create(PODS, {}), { ok: true });
  assert.equal(server.asked.length, 2);
});

/** Answers the first request, and cuts the connection when the next one arrives on it. */
function cutsSecond(): Handler {
  const seen = new WeakSet();
  return ({ socket }, answer) => {
    if (seen.has(socket)) socket.destroy();
    else {
      seen.add(socket);
      answerJson(answer, 200, { ok: true });
    }
  };
}

test('a kept connection that has died costs a read nothing', async () => {
  const { api, server } = await start(cutsSecond());
  await api.get(PODS);
  assert.deepEqual(await api.get(PODS), { ok: true });
  assert.equal(server.connections.length, 2);
});

test('after refresh the next request opens a connection of its own, and each socket can be tuned', async () => {
  const { server } = await start();
  const tuned: (number | undefined)[] = [];
  const api = openApi(server.access(), { tune: (socket) => tuned.push(socket.remotePort) });
  closers.push(() => api.close());
  await api.get(PODS);
  api.refresh();
  await api.get(PODS);
  assert.deepEqual(tuned, [server.port, server.port]);
  assert.equal(server.connections.length, 2);
  await waitFor('the former is closed', () => server.connections[0]?.destroyed === true);
});

test('a create on a connection that dies is not sent again', async () => {
  const { api, server } = await start(cutsSecond());
  await api.get(PODS);
  await assert.rejects(api.create(PODS, {}), { code: 'API_UNREACHABLE' });
  assert.equal(server.asked.filter(({ method }) => method === 'POST').length, 1);
});

test('an answer that does not come ends with TIMED_OUT, and close ends all that is under way', async () => {
  const { api } = await start(() => undefined);
  await assert.rejects(api.get(PODS, { timeoutMs: 50 }), { code: 'TIMED_OUT' });
  const stop = new AbortController();
  const stopped = assert.rejects(api.get(PODS, { signal: stop.signal }), { code: 'INTERRUPTED' });
  stop.abort();
  await stopped;
  const closed = assert.rejects(api.get(PODS), { code: 'INTERRUPTED' });
  api.close();
  await closed;
});

test('an answer that is no JSON is an error with a code', async () => {
  const { api } = await start((_asked, answer) => void answer.end('<html>hello</html>'));
  await assert.rejects(api.get(PODS), { code: 'API_FAILED' });
  assert.equal(await api.getText(PODS), '<html>hello</html>');
});

test('impersonation headers that occur several times are sent as several', async () => {
  const headers = { 'impersonate-user': 'jane', 'impersonate-group': ['dev', 'ops'] };
  const credentials: Credentials = {
    current: () => Promise.resolve({ headers, identity: undefined }),
    renew: () => Promise.resolve(false),
  };
  const raw: string[][] = [];
  const { api, server } = await start(undefined, { credentials });
  server.server.on('request', (request) => raw.push(request.rawHeaders));
  await api.get(PODS);
  const names = raw[0]?.filter((_, index, all) => index % 2 === 1 && /group/i.test(all[index - 1] ?? ''));
  assert.deepEqual(names, ['dev', 'ops']);
});

async function refusedPort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function unreachable(access: ClusterAccess, message: RegExp, code = 'API_UNREACHABLE'): Promise<void> {
  const api = openApi(access);
  closers.push(() => api.close());
  return assert.rejects(api.get(PODS), (error: CzError) => {
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.ok(error.hint !== undefined);
    return true;
  });
}

test('an API server that refuses, does not resolve, or is not trusted is named with host, port and cause', async () => {
  const { server } = await start();
  const port = await refusedPort();
  const at = (url: string): ClusterAccess => server.access({ server: new URL(url) });
  await unreachable(
    at(`https://127.0.0.1:${port}`),
    new RegExp(`127\\.0\\.0\\.1:${port}, cannot be reached: connection refused`),
  );
  await unreachable(
    at('https://nowhere.invalid'),
    /nowhere\.invalid:443, cannot be reached: the name does not resolve/,
  );
  const foreign = { ca: createAuthority('another').cert, serverName: undefined, insecure: false };
  await unreachable(
    server.access({ tls: foreign }),
    new RegExp(`127\\.0\\.0\\.1:${server.port}: (?:unable to verify|self-signed)`),
    'API_TLS',
  );
});

test('a certificate for another name is refused, unless tls-server-name or insecure say otherwise', async () => {
  const authority = createAuthority();
  const certificate = authority.issue({ name: 'api', hosts: ['kubernetes'] });
  const server = await openTestServer({ authority, certificate });
  closers.push(() => server.close());
  await unreachable(server.access(), /TLS with .*altnames/i, 'API_TLS');
  for (const tls of [
    { ca: authority.cert, serverName: 'kubernetes', insecure: false },
    { ca: undefined, serverName: undefined, insecure: true },
  ]) {
    const api = openApi(server.access({ tls }));
    closers.push(() => api.close());
    await api.get(PODS);
  }
});

test('a server that accepts and then says nothing is given up within the limit, in TLS as in TCP', async () => {
  const silent: Server = createServer(() => undefined);
  closers.push(() => silent.close());
  const port = await listen(silent);
  const tls = { ca: undefined, serverName: undefined, insecure: true };
  const server = new URL(`https://127.0.0.1:${port}`);
  const connector = createConnector({ server, tls, proxy: undefined, label: 'the API server' }, 100);
  await assert.rejects(connector.connect(undefined), {
    code: 'API_UNREACHABLE',
    message: `the API server, 127.0.0.1:${port}, cannot be reached: no answer within 0.1 s`,
  });
});

test('a server that closes during TLS is unreachable, not untrusted', async () => {
  const rude = createServer((socket) => socket.end());
  closers.push(() => rude.close());
  const port = await listen(rude);
  const { server } = await start();
  await unreachable(
    server.access({ server: new URL(`https://127.0.0.1:${port}`) }),
    /it closed the connection/,
  );
});

test('a plain http server (kubectl proxy) is served too', async () => {
  const server = await openTestServer({ plain: true });
  const api = openApi(server.access());
  closers.push(
    () => server.close(),
    () => api.close(),
  );
  assert.deepEqual(await api.get(PODS), {});
});

interface Proxy {
  readonly url: URL;
  readonly asked: string[];
}

/** An HTTP proxy that knows CONNECT alone. */
async function openProxy(answer = 200, authority?: Authority): Promise<Proxy> {
  const asked: string[] = [];
  const server = await openTestServer(authority === undefined ? { plain: true } : { authority });
  server.server.on('connect', (request, socket, head: Buffer) => {
    asked.push(`${request.url} ${request.headers['proxy-authorization'] ?? '-'}`);
    if (answer !== 200) {
      socket.end(`HTTP/1.1 ${answer} No\r\n\r\n`);
      return;
    }
    const [host, port] = (request.url ?? '').split(':');
    const out = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      out.write(head);
      out.pipe(socket).pipe(out);
    });
    for (const end of [out, socket])
      end.on('error', () => undefined).on('close', () => (out.destroy(), socket.destroy()));
  });
  closers.push(() => server.close());
  const scheme = authority === undefined ? 'http' : 'https';
  return { url: new URL(`${scheme}://me:p%40ss@127.0.0.1:${server.port}`), asked };
}

test('requests go through an http proxy by CONNECT, with its name and password', async () => {
  const proxy = await openProxy();
  const { api, server } = await start(undefined, { proxy: proxy.url });
  assert.deepEqual(await api.get(PODS), {});
  const authorization = `Basic ${Buffer.from('me:p@ss').toString('base64')}`;
  assert.deepEqual(proxy.asked, [`127.0.0.1:${server.port} ${authorization}`]);
  assert.deepEqual(api.dial('/').remoteAddresses(), ['127.0.0.1']);
});

test('an https proxy carries TLS in TLS, and dial gives the TCP socket beneath both', async () => {
  const { server } = await start();
  const proxy = await openProxy(200, server.authority);
  const api = openApi(server.access({ proxy: proxy.url }));
  closers.push(() => api.close());
  assert.deepEqual(await api.get(PODS), {});
  const stream = await api.dial('/').createConnection();
  assert.equal(socketBeneath(stream)?.remotePort, Number(proxy.url.port));
  stream.destroy();
});

test('a proxy that wants another password says so, and the password is in no message', async () => {
  const proxy = await openProxy(407);
  const { server } = await start();
  await unreachable(
    server.access({ proxy: proxy.url }),
    /^(?!.*p%40ss).*does not connect to 127\.0\.0\.1:\d+: 407 No/,
  );
});

test('paths that could leave their place are refused before anything is sent', async () => {
  const { api, server } = await start();
  for (const path of ['/api/../x', '/api?watch=1', 'api', '/a b', '/a\r\nX: y', '/.', '/x#y'])
    await assert.rejects(async () => api.get(path), { code: 'PATH_INVALID' });
  assert.equal(server.asked.length, 0);
  assert.equal(apiPath`/a/${'x/../y?z'}/b`, '/a/x%2F..%2Fy%3Fz/b');
  assert.throws(
    () => apiPath`/a/${'..'}`,
    (error) => codeOf(error) === 'PATH_INVALID',
  );
});
