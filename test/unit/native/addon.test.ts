/** The addon's functions on a real kernel. What changes interfaces or connections runs in a namespace; needs root. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { descriptorOf, destroySockets, peerCredentials, tuneSocket } from '../../../src/base/addon.js';
import { exec } from '../../../src/base/exec.js';

const CHILD = [process.execPath, '--import', 'tsx', fileURLToPath(new URL('inside.ts', import.meta.url))];

test('the kernel tells who connected to a unix socket', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cz-peer-'));
  await withConnection(createServer().listen(join(folder, 'socket')), join(folder, 'socket'), (accepted) => {
    const expected = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
    assert.deepEqual(peerCredentials(fd(accepted)), expected);
  });
  await rm(folder, { recursive: true });
});

test('a descriptor that is no socket has no peer', async () => {
  const file = await open('/dev/null');
  assert.throws(() => peerCredentials(-1), { code: 'EBADF' });
  assert.throws(() => peerCredentials(file.fd), { code: 'ENOTSOCK' });
  await file.close();
});

test('TCP options are set, and what the kernel lacks is told instead of thrown', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  await withConnection(server, address.port, async (accepted) => {
    const wanted = { notsentLowatBytes: 65_536, userTimeoutMs: 30_000, congestion: 'reno' };
    const all = { notsentLowat: true, userTimeout: true, congestion: true };
    assert.deepEqual(tuneSocket(fd(accepted), wanted), all);
    const { stdout } = await exec(['ss', '-Htni', 'state', 'established', `sport = :${address.port}`]);
    assert.match(stdout, /\breno\b/);
    assert.deepEqual(tuneSocket(fd(accepted), { congestion: 'none such' }), {
      notsentLowat: false,
      userTimeout: false,
      congestion: false,
    });
  });
});

test('a closed socket has no descriptor', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  let kept: Socket | undefined;
  await withConnection(server, address.port, (accepted) => {
    kept = accepted;
    assert.equal(typeof descriptorOf(accepted), 'number');
  });
  assert.ok(kept);
  assert.equal(descriptorOf(kept), undefined);
});

test('only an IPv4 address names sockets', () => {
  assert.throws(() => destroySockets('::1'), { code: 'USAGE' });
});

test('the addon loads on the oldest glibc that Node 20 runs on', async () => {
  const file = fileURLToPath(new URL(`../../../native/build/linux-${process.arch}/cz.node`, import.meta.url));
  const versions = (await readFile(file, 'latin1')).matchAll(/GLIBC_2\.(\d+)/g);
  const newest = Math.max(...Array.from(versions, ([, minor]) => Number(minor)));
  assert.ok(newest > 0 && newest <= 28, `it wants glibc 2.${newest}`);
});

test('forwarding is turned on without writing to /proc', async () => {
  await exec(['unshare', '-n', ...CHILD, 'forwarding']);
});

test('connections from an address end at once, IPv6 sockets too, and no others', async () => {
  await exec(['unshare', '-n', ...CHILD, 'sockets']);
});

function fd(socket: Socket): number {
  const descriptor = descriptorOf(socket);
  assert.ok(descriptor !== undefined);
  return descriptor;
}

async function withConnection(
  server: Server,
  to: string | number,
  use: (accepted: Socket) => void | Promise<void>,
): Promise<void> {
  if (!server.listening) await once(server, 'listening');
  const accepting = once(server, 'connection');
  const client = typeof to === 'string' ? connect(to) : connect(to, '127.0.0.1');
  const [accepted] = await accepting;
  try {
    await use(accepted);
  } finally {
    client.destroy();
    accepted.destroy();
    server.close();
    await once(server, 'close');
  }
}
