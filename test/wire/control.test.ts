/**
 * Both ends of the control socket in one process, over a real unix socket.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { statSync, existsSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { CzError } from '../../src/base/errors.js';
import { createAccess } from '../../src/control/access.js';
import { openControlClient } from '../../src/control/client.js';
import { disconnectedStatus, type ProgressEvent } from '../../src/control/schema.js';
import { openControlServer } from '../../src/control/server.js';
import { CONNECT_PARAMS, openTestServer } from '../support/control.js';

const status = disconnectedStatus('1.0.0');
const DEADLINE_MS = 5000;

async function open(t: TestContext, ...how: Parameters<typeof openTestServer>) {
  const test = await openTestServer(...how);
  const client = await openControlClient(test.path);
  t.after(async () => {
    client.close();
    await test.close();
  });
  return { ...test, client };
}

test('a call returns its result, and several at once each their own', async (t) => {
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (letGo = resolve));
  const { client } = await open(t, {
    logs: async () => {
      await gate;
      return { path: '/run/cz/daemon.log', manager: null };
    },
    status: async () => status,
  });
  const slow = client.call('logs', {});
  assert.deepEqual(await client.call('status', {}), status);
  letGo();
  assert.equal((await slow).path, '/run/cz/daemon.log');
});

test('events arrive in order, before the result', async (t) => {
  const events: ProgressEvent[] = [
    { kind: 'started', step: 'session', text: 'asking the cluster' },
    { kind: 'done', step: 'session', text: 'asking the cluster', tookMs: 12.5 },
    { kind: 'warning', text: 'skipped', hint: 'look' },
  ];
  const { client } = await open(t, {
    connect: async (_, call) => {
      for (const event of events) call.emit(event);
      return { outcome: 'connected', changes: [], status };
    },
  });
  const seen: ProgressEvent[] = [];
  const { outcome } = await client.call('connect', CONNECT_PARAMS, { onEvent: (event) => seen.push(event) });
  assert.equal(outcome, 'connected');
  assert.deepEqual(seen, events);
});

test('an error arrives with code, message and hint', async (t) => {
  const { client } = await open(t, {
    disconnect: async () => {
      throw new CzError('CONFLICT', 'no', { hint: 'yes' });
    },
  });
  await assert.rejects(client.call('disconnect', {}), { code: 'CONFLICT', message: 'no', hint: 'yes' });
});

test('parameters are checked before they are sent, and again by the daemon', async (t) => {
  const { client, path } = await open(t, {});
  await assert.rejects(client.call('connect', { ...CONNECT_PARAMS, namespaces: ['A B'] }), {
    code: 'MALFORMED',
  });
  const [reply] = await talk(path, '{"id":1,"method":"connect","params":{}}\n');
  assert.match(reply ?? '', /"code":"MALFORMED"/);
});

test('a result of another shape is an error at the daemon, not at the command line', async (t) => {
  const wrong = { ...status, state: 'asleep' };
  const { client } = await open(t, { status: async () => JSON.parse(JSON.stringify(wrong)) });
  await assert.rejects(client.call('status', {}), { code: 'MALFORMED', message: /result.state/ });
});

test('aborting a call cancels that call at the daemon and no other', async (t) => {
  const ended: string[] = [];
  const { client } = await open(t, {
    logs: (_, { signal }) => untilAborted(signal, () => ended.push('logs')),
    status: async () => status,
  });
  const abort = new AbortController();
  const call = client.call('logs', {}, { signal: abort.signal });
  assert.equal((await client.call('status', {})).state, 'disconnected');
  abort.abort();
  await assert.rejects(call, { code: 'INTERRUPTED' });
  await client.call('status', {});
  assert.deepEqual(ended, ['logs']);
});

test('a command line that goes away aborts its calls; those of others go on', async (t) => {
  let aborted: () => void = () => undefined;
  const seen = new Promise<void>((resolve) => (aborted = resolve));
  const { client, path } = await open(t, {
    logs: (_, { signal }) => untilAborted(signal, aborted),
    status: async () => status,
  });
  const other = await openControlClient(path);
  const call = other.call('logs', {});
  await client.call('status', {});
  other.close();
  await assert.rejects(call, { code: 'DAEMON_GONE' });
  await seen;
  assert.deepEqual(await client.call('status', {}), status);
});

test('a daemon that does not answer in time is reported', async (t) => {
  const { client } = await open(t, { logs: (_, { signal }) => untilAborted(signal, () => undefined) });
  await assert.rejects(client.call('logs', {}, { timeoutMs: 20 }), { code: 'TIMED_OUT' });
});

test('without a daemon: not connected, also with a socket that it left', async (t) => {
  await assert.rejects(openControlClient('/nonexistent/cz.sock'), { code: 'NOT_CONNECTED' });
  const { path } = await open(t, {});
  writeFileSync(`${path}.plain`, '');
  await assert.rejects(openControlClient(`${path}.plain`), { code: 'NOT_CONNECTED' });
});

test('a daemon that closes lets its last answer through, and removes the socket', async (t) => {
  const { client, path, server } = await open(t, {
    disconnect: async () => {
      setImmediate(() => void server.close());
      return { wasConnected: true, context: 'x', leftovers: [] };
    },
  });
  assert.equal((await client.call('disconnect', {})).wasConnected, true);
  await client.closed;
  assert.ok(!existsSync(path));
  await assert.rejects(client.call('status', {}), { code: 'DAEMON_GONE' });
});

test('two daemons cannot listen on one socket; a dead one’s is taken over', async (t) => {
  const { path } = await open(t, {});
  await assert.rejects(openTestServerAt(path), { code: 'CONFLICT' });
  writeFileSync(`${path}.stale`, '');
  const server = await openTestServerAt(`${path}.stale`);
  assert.equal(statSync(`${path}.stale`).mode & 0o777, 0o666);
  await server.close();
});

test('another user is refused with the owner’s name; connecting needs root', async (t) => {
  const { client } = await open(
    t,
    {},
    { authorize: createAccess(() => ({ uid: 1000, user: 'ada' })), peer: { pid: 1, uid: 1001, gid: 1001 } },
  );
  await assert.rejects(client.call('status', {}), { code: 'NOT_PERMITTED', message: /"ada"/ });
  await assert.rejects(client.call('connect', CONNECT_PARAMS), { code: 'NOT_ROOT' });
});

test('the kernel says who calls', async (t) => {
  const seen: number[] = [];
  const { path } = await open(t, {});
  const server = await openControlServer({
    path: `${path}.real`,
    authorize: ({ pid, uid, gid }) => void seen.push(pid, uid, gid),
    handlers: { connect: never, disconnect: never, status: async () => status, logs: never, doctor: never },
  });
  const client = await openControlClient(`${path}.real`);
  await client.call('status', {});
  client.close();
  await server.close();
  assert.deepEqual(seen, [process.pid, process.getuid?.(), process.getgid?.()]);
});

const malformed: readonly [string, string][] = [
  ['no JSON', 'hello\n'],
  ['a list', '[]\n'],
  ['a call without a method', '{"id":1}\n'],
  ['an id that is no number', '{"id":"1","method":"status","params":{}}\n'],
  ['an id below one', '{"id":0,"method":"status","params":{}}\n'],
];
for (const [what, bytes] of malformed) {
  test(`${what}: told so and cut off, the daemon goes on`, async (t) => {
    const { client, path } = await open(t, { status: async () => status });
    assert.match((await talk(path, bytes)).join(), /"code":"MALFORMED"/);
    assert.deepEqual(await client.call('status', {}), status);
  });
}

test('an unknown method names the versions as the likely reason', async (t) => {
  const { path } = await open(t, {});
  const [reply] = await talk(path, '{"id":1,"method":"toString","params":{}}\n');
  assert.match(reply ?? '', /"code":"VERSION_MISMATCH"/);
});

test('a flood of calls on one connection is refused beyond sixteen', async (t) => {
  const { path } = await open(t, { logs: (_, { signal }) => untilAborted(signal, () => undefined) });
  const calls = Array.from({ length: 20 }, (_, index) => `{"id":${index + 1},"method":"logs","params":{}}\n`);
  const replies = await talk(path, calls.join(''), 4);
  assert.ok(replies.every((line) => line.includes('"code":"BUSY"')));
});

test('one user cannot take all connections', async (t) => {
  const { path } = await open(t, { status: async () => status });
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  for (let count = 0; count < 31; count += 1) {
    const socket = connect(path);
    sockets.push(socket);
    await once(socket, 'connect');
  }
  assert.match((await talk(path, '{"id":1,"method":"status","params":{}}\n')).join(), /"code":"BUSY"/);
});

async function never(): Promise<never> {
  throw new CzError('UNEXPECTED', 'no such call');
}

function untilAborted(signal: AbortSignal, done: () => void): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      done();
      reject(new CzError('INTERRUPTED', 'aborted'));
    });
  });
}

async function openTestServerAt(path: string) {
  const handlers = { connect: never, disconnect: never, status: never, logs: never, doctor: never };
  return openControlServer({
    path,
    handlers,
    authorize: () => undefined,
    peerOf: () => ({ pid: 1, uid: 0, gid: 0 }),
  });
}

/** Sends bytes and returns the lines of the answer: `count` of them, or all until the daemon ends the connection. */
async function talk(path: string, bytes: string, count = 1): Promise<string[]> {
  const socket = connect(path);
  const signal = AbortSignal.timeout(DEADLINE_MS);
  socket.write(bytes);
  let text = '';
  for await (const chunk of socket) {
    assert.ok(!signal.aborted, 'an answer in time');
    text += String(chunk);
    if (text.split('\n').length > count) break;
  }
  socket.destroy();
  return text.split('\n').filter((line) => line !== '');
}
