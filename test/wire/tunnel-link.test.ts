/**
 * Both halves of the tunnel in one process, over a real websocket, with packet ports in memory.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { silentLog } from '../../src/base/log.js';
import { CzError } from '../../src/base/errors.js';
import { createLink, type Link } from '../../src/tunnel/link.js';
import { FakePort, openHost, record, until, type WebsocketHost } from './tunnel-pair.js';

let host: WebsocketHost;
before(async () => {
  host = await openHost();
});
after(() => host.close());

interface Ends {
  readonly laptop: Link;
  readonly manager: Link;
  readonly laptopPort: FakePort;
  readonly managerPort: FakePort;
  readonly lost: string[];
}

function createEnds(): Ends {
  const lost: string[] = [];
  const [laptopPort, managerPort] = [new FakePort(), new FakePort()];
  const link = (role: 'laptop' | 'manager', packets: FakePort) =>
    createLink({ role, packets, log: silentLog, onLost: (reason) => lost.push(`${role} ${reason}`) });
  return {
    laptop: link('laptop', laptopPort),
    manager: link('manager', managerPort),
    laptopPort,
    managerPort,
    lost,
  };
}

async function attach(ends: Ends) {
  const pair = await host.dial();
  ends.manager.attach(pair.manager);
  ends.laptop.attach(pair.laptop);
  return pair;
}

function close(ends: Ends): void {
  ends.laptop.close('GOODBYE');
  ends.manager.close('SESSION_ENDED');
}

test('packets go both ways unchanged and in order', async () => {
  const ends = createEnds();
  await attach(ends);
  const packets = Array.from({ length: 400 }, (_, index) => randomBytes(20 + ((index * 977) % 65_000)));
  for (const packet of packets) ends.laptopPort.put(packet);
  for (const packet of packets.slice(0, 10)) ends.managerPort.put(packet);
  const expected = Buffer.concat(packets.map(record));
  await until(() => size(ends.managerPort) === expected.length, 'all packets at the manager');
  await until(() => ends.laptopPort.written.length > 0, 'packets at the laptop');
  assert.ok(Buffer.concat(ends.managerPort.written).equals(expected));
  close(ends);
});

test('a packet that waits for a link goes when one is attached', async () => {
  const ends = createEnds();
  ends.laptopPort.put(Buffer.alloc(40, 7));
  await attach(ends);
  await until(() => ends.managerPort.written.length === 1, 'the packet at the manager');
  close(ends);
});

test('requests are answered, by either end, and an error comes back by its code', async () => {
  const ends = createEnds();
  ends.manager.handle('double', async (value) => ({ twice: Number(value) * 2 }));
  ends.laptop.handle('refuse', async () => {
    throw new CzError('NO_ADDRESS', 'none left');
  });
  await attach(ends);
  assert.deepEqual(await ends.laptop.request('double', 21), { twice: 42 });
  await assert.rejects(ends.manager.request('refuse', {}), { code: 'NO_ADDRESS', message: 'none left' });
  await assert.rejects(ends.laptop.request('unknown', {}), { code: 'NOT_FOUND' });
  close(ends);
});

test('events reach their listeners', async () => {
  const ends = createEnds();
  const seen: unknown[] = [];
  ends.laptop.on('networks', (params) => seen.push(params));
  await attach(ends);
  ends.manager.notify('networks', { pods: ['10.1.0.0/16'] });
  ends.manager.notify('of-a-later-version', {});
  await until(() => seen.length === 1, 'the event');
  assert.deepEqual(seen, [{ pods: ['10.1.0.0/16'] }]);
  close(ends);
});

test('a cut is told to both ends, and packets go on over the next websocket', async () => {
  const ends = createEnds();
  const pair = await attach(ends);
  const waiting = assert.rejects(ends.laptop.request('nothing', {}), { code: /LOST|NOT_FOUND/ });
  pair.laptopSocket.resetAndDestroy();
  await until(() => ends.lost.length === 2, 'both ends lost');
  await waiting;
  assert.equal(ends.laptop.attached, false);
  ends.laptopPort.put(Buffer.alloc(60, 1));
  await attach(ends);
  await until(() => ends.managerPort.written.length === 1, 'the packet over the second websocket');
  close(ends);
});

test('closing a link tells the peer the code', async () => {
  const ends = createEnds();
  await attach(ends);
  ends.manager.close('SESSION_ENDED');
  await until(() => ends.lost.length === 1, 'the laptop to hear');
  assert.deepEqual(ends.lost, ['laptop SESSION_ENDED']);
  close(ends);
});

test('a newer websocket replaces the former', async () => {
  const ends = createEnds();
  const first = await attach(ends);
  const second = await host.dial();
  ends.manager.attach(second.manager);
  await until(() => ends.lost.length === 1, 'the former to end');
  assert.deepEqual(ends.lost, ['laptop REPLACED']);
  assert.equal(ends.manager.attached, true);
  first.laptop.terminate();
  second.laptop.terminate();
  close(ends);
});

for (const directions of [['up'], ['down'], ['up', 'down']] as const) {
  test(`a way that goes silent (${directions.join(' and ')}) without a word is lost to both ends within 8 s`, async () => {
    const ends = createEnds();
    const pair = await attach(ends);
    await until(() => ends.laptop.roundTripMs !== undefined, 'a heartbeat');
    const start = Date.now();
    for (const direction of directions) pair.silence(direction);
    await until(() => ends.lost.length === 2, 'both ends to find out', 9000);
    assert.ok(Date.now() - start <= 8000, `found after ${Date.now() - start} ms`);
    const codes = ends.lost.map((said) => said.split(' ')[1]);
    assert.ok(codes.includes('SILENT'), ends.lost.join());
    close(ends);
  });
}

test('malformed messages end the websocket with a code and leave the link usable', async () => {
  const cases: [string, (pair: Awaited<ReturnType<typeof attach>>) => void][] = [
    ['an unknown kind', ({ laptop }) => laptop.sendBinary(Buffer.from('7f', 'hex'), () => undefined)],
    ['an empty message', ({ laptop }) => laptop.sendBinary(Buffer.alloc(0), () => undefined)],
    ['a short ack', ({ laptop }) => laptop.sendBinary(Buffer.from('0300', 'hex'), () => undefined)],
    [
      'an ack of what was not sent',
      ({ laptop }) => laptop.sendBinary(Buffer.from('03ffffffffffff00000000', 'hex'), () => undefined),
    ],
    ['text that is no JSON', ({ laptop }) => laptop.sendText('{')],
    ['a request without a name', ({ laptop }) => laptop.sendText('{"request":{"id":1}}')],
  ];
  for (const [name, send] of cases) {
    const ends = createEnds();
    const pair = await attach(ends);
    send(pair);
    await until(() => ends.lost.length === 2, name);
    assert.deepEqual([...ends.lost].sort(), ['laptop MALFORMED', 'manager MALFORMED'], name);
    await attach(ends);
    ends.laptopPort.put(Buffer.alloc(20));
    await until(() => ends.managerPort.written.length === 1, `a packet after ${name}`);
    close(ends);
  }
});

function size(port: FakePort): number {
  return port.written.reduce((sum, { length }) => sum + length, 0);
}
