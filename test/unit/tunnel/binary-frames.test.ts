/** Frames cut at random places: what comes out as a message, and what goes on to the parser. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BinaryFrames } from '../../../src/tunnel/binary-frames.js';

const LIMIT = 70_000;
const MASK = Buffer.from('a1b2c3d4', 'hex');

interface Frame {
  readonly first: number;
  readonly payload: Buffer;
}

function encode({ first, payload }: Frame, mask: Buffer | undefined): Buffer {
  const { length } = payload;
  const bit = mask === undefined ? 0 : 0x80;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = bit | (length < 126 ? length : length < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  if (mask === undefined) return Buffer.concat([head, payload]);
  return Buffer.concat([head, mask, payload.map((byte, at) => byte ^ (mask[at & 3] ?? 0))]);
}

/** Feeds the bytes in chunks of one buffer that is used again, as a socket does. */
function feed(bytes: Buffer, cuts: readonly number[], masked: boolean) {
  const seen = { messages: [] as string[], other: [] as Buffer[] };
  const frames = new BinaryFrames({
    limitBytes: LIMIT,
    masked,
    binary: (message) => seen.messages.push(message.toString('latin1')),
    other: (part) => seen.other.push(part),
  });
  const reused = Buffer.alloc(bytes.length);
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let from = 0;
  for (const end of ends) {
    const chunk = reused.subarray(0, bytes.copy(reused, 0, from, end));
    frames.push(chunk);
    from = end;
  }
  return { messages: seen.messages, other: Buffer.concat(seen.other) };
}

const payloads = fc.oneof(
  { weight: 6, arbitrary: fc.uint8Array({ maxLength: 200 }) },
  fc.integer({ min: 65_000, max: LIMIT }).map((length) => new Uint8Array(length).fill(length % 251)),
);
const frame = fc.record({
  first: fc.constantFrom(0x82, 0x82, 0x82, 0x81, 0x89, 0x8a),
  payload: payloads.map((bytes) => Buffer.from(bytes)),
});

test('binary messages come out whole, all else goes on unchanged, wherever the bytes are cut', () => {
  const property = fc.property(
    fc.array(frame, { maxLength: 8 }),
    fc.array(fc.nat(), { maxLength: 20 }),
    fc.constantFrom(undefined, MASK, Buffer.alloc(4)),
    (frames, cuts, mask) => {
      const bytes = Buffer.concat(frames.map((one) => encode(one, mask)));
      const seen = feed(bytes, cuts, mask !== undefined);
      const [ours, others] = [frames.filter(isBinary), frames.filter((one) => !isBinary(one))];
      assert.deepEqual(
        seen.messages,
        ours.map(({ payload }) => payload.toString('latin1')),
      );
      assert.deepEqual(seen.other, Buffer.concat(others.map((one) => encode(one, mask))));
    },
  );
  fc.assert(property, { numRuns: 200 });
});

function isBinary({ first }: Frame): boolean {
  return first === 0x82;
}

const CASES: readonly (readonly [what: string, frames: readonly Frame[], masked: boolean])[] = [
  ['too long', [{ first: 0x82, payload: Buffer.alloc(LIMIT + 1) }], true],
  ['not masked as it should be', [{ first: 0x82, payload: Buffer.alloc(9) }], false],
  ['with a reserved bit', [{ first: 0xc2, payload: Buffer.alloc(9) }], true],
  [
    'in fragments, and what stands between them',
    [
      { first: 0x02, payload: Buffer.alloc(9) },
      { first: 0x82, payload: Buffer.alloc(9) },
      { first: 0x80, payload: Buffer.alloc(9) },
    ],
    true,
  ],
];

for (const [what, frames, masked] of CASES)
  test(`a binary message ${what} is the parser’s`, () => {
    const bytes = Buffer.concat(frames.map((one) => encode(one, masked ? MASK : undefined)));
    assert.deepEqual(feed(bytes, [5, 11], true), { messages: [], other: bytes });
  });

test('after a close frame nothing is taken any more', () => {
  const close = encode({ first: 0x88, payload: Buffer.alloc(2) }, MASK);
  const late = encode({ first: 0x82, payload: Buffer.alloc(9) }, MASK);
  assert.deepEqual(feed(Buffer.concat([close, late]), [], true), { messages: [], other: close });
});
