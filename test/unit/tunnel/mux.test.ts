/**
 * The stream mux against plain buffers: whatever the order of writes, messages, acks, cuts and resumes, each direction
 * delivers exactly what was written.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DatagramFlow } from '../../../src/tunnel/datagrams.js';
import { encodeFrame, sizeOfFrame } from '../../../src/tunnel/encode.js';
import { KIND, STREAMS_MAX, type Frame } from '../../../src/tunnel/frame.js';
import type { Offer } from '../../../src/tunnel/offer.js';
import { attach, createMuxPair, MuxEnd, settle, turn } from './mux-pair.js';

interface Direction {
  readonly writer: Duplex;
  readonly reader: Duplex;
  /** The oracle: everything written. */
  readonly written: Buffer[];
  readonly read: Buffer[];
  ended: boolean;
  sawEnd: boolean;
}

function direction(writer: Duplex, reader: Duplex): Direction {
  const made: Direction = { writer, reader, written: [], read: [], ended: false, sawEnd: false };
  reader.on('end', () => (made.sawEnd = true));
  return made;
}

/** Opens a stream from the laptop and returns both directions. */
async function openStream(laptop: MuxEnd, manager: MuxEnd): Promise<[Direction, Direction]> {
  let accepted: Duplex | undefined;
  manager.mux.onOffer((offer) => {
    if (offer.flow === 'stream') accepted = offer.accept();
  });
  const opening = laptop.mux.openStream({ tcp: '127.0.0.1:80' });
  await settle(laptop, manager);
  const opened = await opening;
  assert.ok(accepted);
  return [direction(opened, accepted), direction(accepted, opened)];
}

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      which: fc.nat(5),
      bytes: fc.integer({ min: 1, max: 90_000 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end' as const), which: fc.nat(5) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      which: fc.nat(5),
      bytes: fc.integer({ min: 1, max: 200_000 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('fill' as const),
      side: fc.boolean(),
      bytes: fc.integer({ min: 64, max: 70_000 }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('deliver' as const), side: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('ack' as const), side: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

test('every byte written is read once, in order, whatever is cut and resumed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 150 }), async (steps) => {
      const { laptop, manager } = createMuxPair();
      const directions = (await Promise.all([0, 1, 2].map(() => openInTurn(laptop, manager)))).flat();
      for (const each of steps) {
        apply(each, laptop, manager, directions);
        await turn();
      }
      await finish(laptop, manager, directions);
      for (const { written, read, sawEnd } of directions) {
        assert.equal(digest(read), digest(written));
        assert.equal(sawEnd, true);
      }
      assert.equal(laptop.mux.openStreams + manager.mux.openStreams, 0);
    }),
    { numRuns: 60 },
  );
});

let last: Promise<unknown> = Promise.resolve();
function openInTurn(laptop: MuxEnd, manager: MuxEnd): Promise<[Direction, Direction]> {
  const next = last.then(() => openStream(laptop, manager));
  last = next;
  return next;
}

function apply(step: Step, laptop: MuxEnd, manager: MuxEnd, directions: Direction[]): void {
  const [from, to] = 'side' in step && step.side ? [laptop, manager] : [manager, laptop];
  const which = 'which' in step ? directions[step.which] : undefined;
  switch (step.do) {
    case 'write':
      if (which !== undefined && !which.ended && which.writer.writableLength < 2 ** 20)
        write(which, step.bytes);
      break;
    case 'end':
      if (which !== undefined && !which.ended) end(which);
      break;
    case 'read':
      if (which !== undefined) read(which, step.bytes);
      break;
    case 'fill':
      from.fill(step.bytes);
      break;
    case 'deliver':
      to.deliver(from);
      break;
    case 'ack':
      to.acknowledge(from);
      break;
    case 'cut':
      attach(laptop, manager);
      break;
  }
}

/** Bytes without a period that a shift by a window or a message could hide behind. */
const pool = Buffer.concat(
  Array.from({ length: 8192 }, (_, index) => createHash('sha256').update(String(index)).digest()),
);
let place = 0;
function write(to: Direction, bytes: number): void {
  place = (place + 7919) % (pool.length - bytes);
  const chunk = Buffer.from(pool.subarray(place, place + bytes));
  to.written.push(Buffer.from(chunk));
  to.writer.write(chunk, () => chunk.fill(0)); // Node lets the writer reuse it then
}

function end(of: Direction): void {
  of.ended = true;
  of.writer.end();
}

function read(of: Direction, bytes: number): void {
  const chunk: unknown = of.reader.read(Math.min(bytes, of.reader.readableLength));
  if (Buffer.isBuffer(chunk)) of.read.push(chunk);
}

async function finish(laptop: MuxEnd, manager: MuxEnd, directions: Direction[]): Promise<void> {
  for (const each of directions) {
    if (!each.ended) end(each);
    each.reader.on('data', (chunk: Buffer) => each.read.push(chunk));
  }
  await settle(laptop, manager);
}

function digest(chunks: Buffer[]): string {
  const whole = Buffer.concat(chunks);
  return `${whole.length} bytes ${createHash('sha256').update(whole).digest('hex')}`;
}

test('a reader that does not read stops the writer within the window, and neither end grows', async () => {
  const { laptop, manager } = createMuxPair();
  const [up] = await openStream(laptop, manager);
  let accepted = 0;
  const chunk = Buffer.alloc(64 * 1024);
  for (let count = 0; count < 100 && up.writer.writableLength < 2 ** 20; count += 1) {
    up.writer.write(chunk, () => (accepted += chunk.length));
    await settle(laptop, manager);
  }
  assert.ok(accepted >= 256 * 1024 && accepted <= 512 * 1024, `${accepted} bytes were taken`);
  up.reader.resume();
  await settle(laptop, manager);
  assert.ok(accepted >= 1024 * 1024, 'once it is read, the rest is taken');
});

test('a window grows while its reader keeps up', async () => {
  const { laptop, manager } = createMuxPair();
  const [up] = await openStream(laptop, manager);
  up.reader.resume();
  for (let count = 0; count < 64; count += 1) up.writer.write(Buffer.alloc(64 * 1024));
  await settle(laptop, manager);
  const [, point] = manager.mux.resumePoints();
  const window = (point?.[2] ?? 0) - (point?.[1] ?? 0);
  assert.ok(window > 512 * 1024 && window <= 8 * 1024 * 1024, `the window is ${window}`);
});

test('a refusal comes back by its code', async () => {
  const { laptop, manager } = createMuxPair();
  manager.mux.onOffer((offer) => offer.refuse('ECONNREFUSED', 'connection refused'));
  const opening = laptop.mux.openStream({});
  const refused = assert.rejects(opening, { code: 'ECONNREFUSED', message: 'connection refused' });
  await settle(laptop, manager);
  await refused;
  assert.equal(laptop.mux.openStreams, 0);
});

test('nobody takes streams: they are refused', async () => {
  const { laptop, manager } = createMuxPair();
  const refused = assert.rejects(manager.mux.openStream({}), { code: 'NOT_FOUND' });
  await settle(laptop, manager);
  await refused;
});

test('an open whose message was lost is opened after the resume', async () => {
  const { laptop, manager } = createMuxPair();
  manager.mux.onOffer((offer) => offer.flow === 'stream' && offer.accept());
  const opening = laptop.mux.openStream({});
  laptop.fill(1000);
  attach(laptop, manager);
  await settle(laptop, manager);
  assert.equal((await opening).destroyed, false);
});

test('an answer whose message was lost is heard by the resume', async () => {
  const { laptop, manager } = createMuxPair();
  manager.mux.onOffer((offer) => offer.flow === 'stream' && offer.accept());
  const opening = laptop.mux.openStream({});
  laptop.fill(1000);
  manager.deliver(laptop);
  manager.fill(1000);
  attach(laptop, manager);
  await settle(laptop, manager);
  assert.equal((await opening).destroyed, false);
});

test('destroying a stream resets it at the other end', async () => {
  const { laptop, manager } = createMuxPair();
  const [up] = await openStream(laptop, manager);
  const error = errorOf(up.reader);
  up.writer.destroy();
  await settle(laptop, manager);
  assert.equal(await error, 'CLOSED');
  assert.equal(laptop.mux.openStreams + manager.mux.openStreams, 0);
});

test('a reset whose message was lost is made up for by the resume', async () => {
  const { laptop, manager } = createMuxPair();
  const [up] = await openStream(laptop, manager);
  const error = errorOf(up.reader);
  up.writer.destroy();
  await turn();
  laptop.fill(1000);
  attach(laptop, manager);
  await settle(laptop, manager);
  assert.equal(await error, 'LOST');
});

test('a manager that starts anew resets the streams of the former, and new ones open', async () => {
  const { laptop, manager } = createMuxPair();
  const [up] = await openStream(laptop, manager);
  const error = errorOf(up.writer);
  const successor = new MuxEnd('manager');
  attach(laptop, successor);
  await settle(laptop, successor);
  assert.equal(await error, 'LOST');
  await openStream(laptop, successor);
  laptop.mux.onOffer((offer) => offer.flow === 'stream' && offer.accept());
  const back = successor.mux.openStream({});
  await settle(laptop, successor);
  assert.equal((await back).destroyed, false);
});

test('closing the link ends its streams', async () => {
  const { laptop, manager } = createMuxPair();
  const [up] = await openStream(laptop, manager);
  const error = errorOf(up.writer);
  laptop.mux.close();
  assert.equal(await error, 'CLOSED');
  await assert.rejects(laptop.mux.openStream({}), { code: 'CLOSED' });
});

test('the 1025th stream is refused', async () => {
  const { laptop, manager } = createMuxPair();
  manager.mux.onOffer((offer) => offer.flow === 'stream' && offer.accept());
  const opening = Array.from({ length: STREAMS_MAX }, () => laptop.mux.openStream({}));
  await assert.rejects(laptop.mux.openStream({}), { code: 'BUSY' });
  await settle(laptop, manager);
  await Promise.all(opening);
});

test('datagrams arrive whole; what waits beyond 256 KiB is dropped, and nothing blocks', async () => {
  const { laptop, manager } = createMuxPair();
  const got: number[] = [];
  let flow: DatagramFlow | undefined;
  manager.mux.onOffer((offer: Offer) => {
    if (offer.flow === 'datagrams') offer.accept().onDatagram((datagram) => got.push(datagram.length));
  });
  const opening = laptop.mux.openDatagrams({ udp: '127.0.0.1:53' });
  await settle(laptop, manager);
  flow = await opening;
  const sizes = [0, 1, 1200, 65_507];
  assert.deepEqual(
    sizes.map((size) => flow.send(Buffer.alloc(size))),
    [true, true, true, true],
  );
  assert.equal(flow.send(Buffer.alloc(65_508)), false);
  await settle(laptop, manager);
  assert.deepEqual(got, sizes);
  const taken = Array.from({ length: 400 }, () => flow.send(Buffer.alloc(1200))).filter(Boolean).length;
  assert.ok(taken > 100 && taken < 256, `${taken} datagrams wait`);
  flow.close();
});

const violations: [string, Frame[], string][] = [
  [
    'an open with an id of ours',
    [{ type: 'open', id: 2, flow: 'stream', limit: 0, target: '{}' }],
    'MALFORMED',
  ],
  [
    'an open with the id zero',
    [{ type: 'open', id: 0, flow: 'stream', limit: 0, target: '{}' }],
    'MALFORMED',
  ],
  ['an open of an id that was used', [open(1), open(1)], 'MALFORMED'],
  ['an open whose target is no JSON', [{ ...open(1), target: '{' }], 'MALFORMED'],
  [
    'data of a stream never opened',
    [{ type: 'data', id: 9, offset: 0, bytes: Buffer.alloc(1) }],
    'MALFORMED',
  ],
  ['data with a gap', [open(1), { type: 'data', id: 1, offset: 1, bytes: Buffer.alloc(1) }], 'MALFORMED'],
  ['an end with a gap', [open(1), { type: 'end', id: 1, offset: 1 }], 'MALFORMED'],
  [
    'data after the end',
    [open(1), { type: 'end', id: 1, offset: 0 }, { type: 'data', id: 1, offset: 0, bytes: Buffer.alloc(1) }],
    'MALFORMED',
  ],
  ['a datagram on a stream', [open(1), { type: 'datagram', id: 1, bytes: Buffer.alloc(1) }], 'MALFORMED'],
  ['an answer nobody waits for', [open(1), { type: 'opened', id: 1, limit: 0 }], 'MALFORMED'],
  [
    'data beyond the limit',
    [
      open(1),
      ...Array.from({ length: 5 }, (_, index) => ({
        type: 'data' as const,
        id: 1,
        offset: index * 65_536,
        bytes: Buffer.alloc(65_536),
      })),
    ],
    'FLOW_CONTROL',
  ],
];

for (const [name, frames, code] of violations) {
  test(`${name} is a violation`, () => {
    const { manager } = createMuxPair();
    manager.mux.onOffer((offer) => offer.flow === 'stream' && offer.accept());
    assert.throws(() => manager.mux.take(encode(frames)), { code });
  });
}

test('a resume at places that cannot be is a violation', async () => {
  for (const point of [
    [1, 99, 0, 1],
    [1, 0, 0, 3],
  ] as const) {
    const { laptop, manager } = createMuxPair();
    await openStream(laptop, manager);
    laptop.cut();
    assert.throws(() => laptop.mux.attach([[0, 1, 0, 0], point]), { code: 'MALFORMED' });
  }
});

test('a peer that opens and never reads its refusals is cut off', () => {
  const { manager } = createMuxPair();
  for (let id = 1; id < 8000; id += 2) manager.mux.take(encode([open(id)]));
  assert.ok(manager.overruns > 0);
  assert.ok(manager.mux.writer.replies <= 2 * STREAMS_MAX);
});

function open(id: number): Extract<Frame, { type: 'open' }> {
  return { type: 'open', id, flow: 'stream', limit: 0, target: '{}' };
}

function encode(frames: readonly Frame[]): Buffer {
  const arena = Buffer.alloc(1 + frames.reduce((sum, frame) => sum + sizeOfFrame(frame), 0));
  arena[0] = KIND.mux;
  let at = 1;
  for (const frame of frames) at = encodeFrame(arena, at, frame);
  return arena;
}

function errorOf(stream: Duplex): Promise<string> {
  return new Promise((resolve) => {
    stream.once('error', (error) => resolve('code' in error ? String(error.code) : error.message));
  });
}
