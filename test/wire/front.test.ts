/** The manager's port towards strangers: whatever they do, it goes on serving, and they hold little of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { silentLog } from '../../src/base/log.js';
import { openFront } from '../../src/manager/front.js';
import { Guests } from '../../src/manager/guests.js';
import { createKeyPair } from '../../src/tunnel/handshake.js';
import { waitFor } from '../support/wait-for.js';

const front = await openFront({
  port: 0,
  key: createKeyPair(),
  sessions: {
    lookup: () => Promise.resolve(undefined),
    welcome: () => Promise.reject(new Error('nobody is welcome')),
    attach: () => assert.fail('nobody is welcome'),
    announce: () => undefined,
    close: () => Promise.resolve(),
  },
  log: silentLog,
  tune: () => undefined,
  ready: () => true,
});
after(() => front.close());

async function dial(): Promise<Socket> {
  const socket = connect(front.port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function isHealthy(): Promise<boolean> {
  return (await fetch(`http://127.0.0.1:${front.port}/healthz`)).status === 200;
}

test('an upgrade to nowhere is answered, and its connection ended', async () => {
  const socket = await dial();
  socket.write(upgradeOf('/v1/other'));
  const [answer]: unknown[] = await once(socket, 'data');
  assert.match(String(answer), /^HTTP\/1\.1 503 /);
  await once(socket, 'close');
});

for (const path of ['/v1/other', '/v1/session']) {
  test(`a reset at any moment of an upgrade to ${path} harms nobody`, async () => {
    for (let tries = 0; tries < 20; tries += 1) {
      const socket = await dial();
      socket.write(upgradeOf(path));
      if (tries % 2 === 0) await once(socket, 'data');
      socket.resetAndDestroy();
    }
    assert.ok(await isHealthy());
  });
}

function upgradeOf(path: string): string {
  const key = Buffer.alloc(16).toString('base64');
  const head = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}`;
  return `GET ${path} HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n`;
}

test('connections that say nothing are ended when newer ones come', async () => {
  const open = new Set<Socket>();
  for (let made = 0; made < 300; made += 1) {
    const socket = await dial();
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  }
  assert.ok(await isHealthy());
  await waitFor('the oldest to be ended', async () => open.size <= 256);
  for (const socket of open) socket.destroy();
});

/** A socket as far as guests are concerned. */
function guestFrom(remoteAddress: string) {
  const socket = {
    remoteAddress,
    reset: false,
    once: () => socket,
    resetAndDestroy: () => (socket.reset = true),
  };
  return socket;
}

test('who crowds the port loses places, oldest first; who holds few keeps them', () => {
  const guests = new Guests(4);
  const crowd = Array.from({ length: 6 }, () => guestFrom('10.0.0.1'));
  const quiet = guestFrom('10.0.0.2');
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that guests ask of a socket
  const come = (one: ReturnType<typeof guestFrom>) => guests.add(one as unknown as Socket);
  come(quiet);
  crowd.forEach(come);
  assert.deepEqual(
    crowd.map(({ reset }) => reset),
    [true, true, true, false, false, false],
  );
  assert.equal(quiet.reset, false);
  assert.equal(guests.count, 4);
});
