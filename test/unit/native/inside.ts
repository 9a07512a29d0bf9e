/** What the addon does to interfaces and connections; runs in a network namespace of its own. Throws when it fails. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { destroySockets, setForwarding } from '../../../src/base/addon.js';
import { exec } from '../../../src/base/exec.js';

const GONE = '198.18.0.9';
const OTHER = '198.18.0.8';

const PROOFS: Readonly<Record<string, () => Promise<void>>> = { forwarding, sockets };

async function forwarding(): Promise<void> {
  const flag = '/proc/sys/net/ipv4/conf/lo/forwarding';
  writeFileSync(flag, '0');
  setForwarding('lo');
  assert.equal(readFileSync(flag, 'utf8'), '1\n');
  assert.throws(() => setForwarding('none0'), { code: 'ENODEV' });
}

/** Of connections whose both ends are here, only those from the address that is gone end; IPv6 sockets too. */
async function sockets(): Promise<void> {
  await exec(['ip', 'link', 'set', 'lo', 'up']);
  for (const address of [GONE, OTHER]) await exec(['ip', 'address', 'add', `${address}/32`, 'dev', 'lo']);
  const accepted: Socket[] = [];
  const server = createServer((socket) => accepted.push(socket.on('error', () => undefined)));
  await once(server.listen(0, '::'), 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const open = async (localAddress: string, host: string) => {
    const socket = connect({ port: address.port, host, localAddress });
    await once(socket, 'connect');
    return socket;
  };
  const [fromGone, toGone, kept] = [
    await open(GONE, OTHER),
    await open(OTHER, GONE),
    await open(OTHER, OTHER),
  ];
  assert.equal(destroySockets('198.18.0.7'), 0);
  const ends = [fromGone, toGone].map((socket) => once(socket, 'error'));
  // One is ours, IPv4; the other is the server's end of `toGone`, an IPv6 socket with a mapped address.
  assert.equal(destroySockets(GONE), 2);
  assert.deepEqual(
    (await Promise.all(ends)).map(([error]) => error.code),
    ['ECONNABORTED', 'ECONNRESET'],
  );
  kept.write('still here');
  await Promise.any(accepted.map((socket) => once(socket, 'data')));
  process.exit(0);
}

const proof = PROOFS[process.argv[2] ?? ''];
assert.ok(proof);
await proof();
