/**
 * Streams over real websockets that are cut again and again: every byte arrives once.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { after, before, test } from 'node:test';
import { codeOf } from '../../src/base/errors.js';
import { silentLog } from '../../src/base/log.js';
import { createLink, type Link } from '../../src/tunnel/link.js';
import { FakePort, openHost, until, type WebsocketHost } from './tunnel-pair.js';

let host: WebsocketHost;
before(async () => {
  host = await openHost();
});
after(() => host.close());

interface Ends {
  readonly laptop: Link;
  readonly manager: Link;
}

function createEnds(): Ends {
  const link = (role: 'laptop' | 'manager') =>
    createLink({ role, packets: new FakePort(), log: silentLog, onLost: () => undefined });
  return { laptop: link('laptop'), manager: link('manager') };
}

/** Joins the ends by a new websocket, resuming as hello and welcome make it. */
async function attach({ laptop, manager }: Ends) {
  const pair = await host.dial();
  const [ofLaptop, ofManager] = [laptop.resumePoints(), manager.resumePoints()];
  manager.attach(pair.manager, ofLaptop);
  laptop.attach(pair.laptop, ofManager);
  return pair;
}

function echo(link: Link): void {
  link.onStream((offer) => {
    if (offer.flow === 'datagrams') return offer.refuse('NOT_FOUND', 'streams only');
    const stream = offer.accept();
    stream.on('error', () => undefined);
    stream.pipe(stream);
  });
}

async function readAll(stream: Duplex): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream as AsyncIterable<Buffer>) hash.update(chunk);
  return hash.digest('hex');
}

test('16 MiB go to the other end and back over websockets that are reset eight times on the way', async () => {
  const ends = createEnds();
  echo(ends.manager);
  let pair = await attach(ends);
  const stream = await ends.laptop.openStream({ tcp: '127.0.0.1:80' });
  const content = randomBytes(16 * 1024 * 1024);
  const expected = createHash('sha256').update(content).digest('hex');
  let read = 0;
  stream.on('data', (chunk: Buffer) => (read += chunk.length));
  const all = readAll(stream);
  const written = writeAll(stream, content);
  for (let cut = 1; cut <= 8; cut += 1) {
    await until(() => read >= (cut * content.length) / 10, `cut ${cut}`);
    pair.laptopSocket.destroy();
    await until(() => !ends.laptop.attached, 'the laptop to notice');
    pair = await attach(ends);
  }
  await written;
  assert.equal(await all, expected);
  await until(
    () => ends.laptop.stats().openStreams + ends.manager.stats().openStreams === 0,
    'no stream left',
  );
  close(ends);
});

test('a stream whose reader is slow does not hold up another', async () => {
  const ends = createEnds();
  const held: Duplex[] = [];
  ends.manager.onStream((offer) => {
    if (offer.flow !== 'stream') return;
    const stream = offer.accept();
    if (offer.target === 'held') held.push(stream);
    else stream.pipe(stream);
  });
  await attach(ends);
  const slow = await ends.laptop.openStream('held');
  const quick = await ends.laptop.openStream('echo');
  slow.write(randomBytes(4 * 1024 * 1024));
  const content = randomBytes(1024 * 1024);
  void writeAll(quick, content);
  assert.equal(await readAll(quick), createHash('sha256').update(content).digest('hex'));
  assert.ok(slow.writableLength > 0, 'the slow one still waits');
  for (const stream of [slow, ...held]) stream.on('error', () => undefined).destroy();
  close(ends);
});

test('packets and control pass while streams are full of bulk', async () => {
  const ends = createEnds();
  echo(ends.manager);
  ends.manager.handle('ping', async () => 'pong');
  await attach(ends);
  const bulk = await ends.laptop.openStream('bulk');
  const all = readAll(bulk);
  const written = writeAll(bulk, Buffer.alloc(32 * 1024 * 1024));
  for (let count = 0; count < 20; count += 1) assert.equal(await ends.laptop.request('ping', {}), 'pong');
  await written;
  await all;
  close(ends);
});

test('a manager without the session resets the streams', async () => {
  const ends = createEnds();
  echo(ends.manager);
  await attach(ends);
  const stream = await ends.laptop.openStream('echo');
  const error = once(stream, 'error');
  const successor = createEnds().manager;
  const pair = await host.dial();
  ends.laptop.detach();
  successor.attach(pair.manager);
  ends.laptop.attach(pair.laptop, successor.resumePoints());
  const [cause]: unknown[] = await error;
  assert.equal(codeOf(cause), 'LOST');
  close(ends);
  successor.close('DONE');
});

test('random bytes as messages end the websocket with a code, never the process', async () => {
  const ends = createEnds();
  echo(ends.manager);
  for (let round = 0; round < 40; round += 1) {
    const pair = await attach(ends);
    const closed = once(pair.laptopSocket, 'close');
    for (let count = 0; count < 20; count += 1) {
      const message = randomBytes(1 + ((round * 37 + count * 101) % 400));
      message[0] = count % 2 === 0 ? 2 : 1 + (count % 6);
      if (message[0] === 1) message[0] = 3;
      pair.laptop.sendBinary(message, () => undefined);
    }
    await closed;
  }
  assert.equal(ends.manager.attached, false);
  assert.equal(ends.manager.stats().openStreams, 0);
  close(ends);
});

async function writeAll(stream: Duplex, content: Buffer): Promise<void> {
  for (let at = 0; at < content.length; at += 50_000)
    if (!stream.write(content.subarray(at, at + 50_000))) await once(stream, 'drain');
  stream.end();
}

function close({ laptop, manager }: Ends): void {
  laptop.close('GOODBYE');
  manager.close('SESSION_ENDED');
}
