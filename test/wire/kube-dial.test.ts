/**
 * The way of the tunnel's websocket: an upgrade over a connection of `dial`, with the credential and TLS of the requests.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { TLSSocket } from 'node:tls';
import { after, test } from 'node:test';
import { openApi, socketBeneath } from '../../src/kube/api.js';
import { apiPath } from '../../src/kube/path.js';
import { openTestServer } from '../support/api-server.js';

const closers: (() => unknown)[] = [];
after(async () => {
  for (const close of closers.reverse()) await close();
});

test('an upgrade over the dialled connection carries the credential, and bytes both ways', async () => {
  const server = await openTestServer();
  const seen: (string | undefined)[] = [];
  server.server.on('upgrade', (asked, socket) => {
    seen.push(asked.url, asked.headers.authorization, asked.headers.host);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.pipe(socket);
  });
  const api = openApi(server.access());
  closers.push(
    () => server.close(),
    () => api.close(),
  );
  const dial = api.dial(
    apiPath`/api/v1/namespaces/${'cz-system'}/pods/${'cz-manager-0:443'}/proxy/v1/session`,
  );
  const stream = await dial.createConnection();
  const headers = { ...(await dial.headers()), connection: 'upgrade', upgrade: 'echo', host: dial.url.host };
  const asked = request({ path: dial.url.pathname, headers, createConnection: () => stream }).end();
  await once(asked, 'upgrade');
  stream.write('hello');
  const [echoed] = await once(stream, 'data');
  assert.equal(String(echoed), 'hello');
  assert.deepEqual(seen, [
    '/api/v1/namespaces/cz-system/pods/cz-manager-0:443/proxy/v1/session',
    'Bearer good',
    `127.0.0.1:${server.port}`,
  ]);
  stream.destroy();
});

test('beneath a dialled stream is the TCP socket, and the address in use is told', async () => {
  const server = await openTestServer();
  const api = openApi(server.access({ server: new URL(`https://localhost:${server.port}`) }));
  closers.push(
    () => server.close(),
    () => api.close(),
  );
  const dial = api.dial('/x');
  assert.deepEqual(dial.remoteAddresses(), []);
  const stream = await dial.createConnection();
  const socket = socketBeneath(stream);
  assert.ok(stream instanceof TLSSocket && socket !== undefined && !(socket instanceof TLSSocket));
  assert.equal(stream.alpnProtocol, 'http/1.1');
  assert.equal(socket.remotePort, server.port);
  assert.ok(dial.remoteAddresses().includes('127.0.0.1'));
  stream.destroy();
  await once(socket, 'close');
});

test('a URL of the user’s own gets no credential, and no connection without TLS that is trusted', async () => {
  const server = await openTestServer();
  const api = openApi(server.access());
  closers.push(
    () => server.close(),
    () => api.close(),
  );
  const dial = api.dialUrl(new URL(`wss://127.0.0.1:${server.port}/tunnel`));
  assert.deepEqual(Object.keys(await dial.headers()), ['user-agent']);
  await assert.rejects(dial.createConnection(), { code: 'API_TLS', message: /^TLS with the manager/ });
  assert.throws(() => api.dialUrl(new URL('https://127.0.0.1/')), { code: 'USAGE' });
});
