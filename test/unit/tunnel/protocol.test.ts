/**
 * PROTOCOL.md's examples are read from the page: each encodes to exactly its bytes and decodes to exactly its words.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { codeOf } from '../../../src/base/errors.js';
import { decodeFrames } from '../../../src/tunnel/decode.js';
import { encodeFrame, sizeOfFrame } from '../../../src/tunnel/encode.js';
import { KIND, type Frame } from '../../../src/tunnel/frame.js';
import { decodeAck, decodePing, encodeAck, encodePing } from '../../../src/tunnel/path-message.js';
import { encodeTranscript, keyPairFromSeed, verifyProof } from '../../../src/tunnel/transcript.js';
import { encodeSlowly, type Message, type OracleFrame } from './oracle.js';

const page = readFileSync(new URL('../../../PROTOCOL.md', import.meta.url), 'utf8');

interface Example {
  readonly message: Message;
  readonly hex: string;
}

const examples: Example[] = [...page.matchAll(/^```example\n([^\n]*)\n([^`]*)^```$/gm)].map(
  ([, said = '', bytes = '']) => ({
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the page is ours; a wrong one fails its test
    message: JSON.parse(said) as Message,
    hex: bytes.replace(/#.*$/gm, '').replace(/\s/g, ''),
  }),
);

test('the page has an example of each kind and of each frame', () => {
  const kinds = new Set(examples.map(({ message }) => message.kind));
  assert.deepEqual([...kinds].sort(), Object.keys(KIND).sort());
  const frames = new Set(
    examples.flatMap(({ message }) => (message.kind === 'mux' ? message.frames : [])).map(({ type }) => type),
  );
  assert.deepEqual([...frames].sort(), [
    'credit',
    'data',
    'datagram',
    'end',
    'open',
    'opened',
    'refused',
    'reset',
  ]);
});

for (const { message, hex } of examples) {
  const name = message.kind === 'mux' ? message.frames.map(({ type }) => type).join(' and ') : message.kind;
  test(`the example of ${name} encodes and decodes exactly`, () => {
    assert.equal(encodeSlowly(message), hex);
    if (message.kind === 'packets') return; // records pass through the tunnel untouched
    assert.equal(encode(message).toString('hex'), hex);
    assert.deepEqual(decode(Buffer.from(hex, 'hex')), message);
  });
}

test('the handshake vector has the transcript and the signatures that the page says', () => {
  const [, block = ''] = /^```vector\n([^`]*)^```$/m.exec(page) ?? [];
  const vector = Object.fromEntries(
    block
      .trimEnd()
      .split('\n')
      .map((line) => [line.slice(0, 18).trim(), line.slice(18)]),
  );
  const bytes = (name: string) => Buffer.from(vector[name] ?? '', 'hex');
  const laptop = keyPairFromSeed(bytes('laptop seed'));
  const manager = keyPairFromSeed(bytes('manager seed'));
  const transcript = encodeTranscript({
    version: 1,
    sessionUid: vector['session'] ?? '',
    mode: vector['mode'] ?? '',
    laptopKey: laptop.publicKey,
    managerKey: manager.publicKey,
    laptopNonce: bytes('laptop nonce').toString('base64'),
    managerNonce: bytes('manager nonce').toString('base64'),
    laptopHello: vector['hello'] ?? '',
    managerHello: vector['manager'] ?? '',
  });
  assert.equal(createHash('sha256').update(transcript).digest('hex'), vector['transcript sha256']);
  const proofs = { manager: manager.sign(transcript, 'manager'), laptop: laptop.sign(transcript, 'laptop') };
  assert.equal(Buffer.from(proofs.manager, 'base64').toString('hex'), vector['manager signature']);
  assert.equal(Buffer.from(proofs.laptop, 'base64').toString('hex'), vector['laptop signature']);
  assert.equal(verifyProof(transcript, 'manager', manager.publicKey, proofs.manager), true);
  assert.equal(verifyProof(transcript, 'laptop', manager.publicKey, proofs.manager), false);
});

const id = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const offset = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const bytes = (minLength: number) =>
  fc.uint8Array({ minLength, maxLength: 300 }).map((array) => Buffer.from(array).toString('hex'));
const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const code = fc.stringMatching(/^[A-Z0-9_]{1,64}$/);
const frame: fc.Arbitrary<OracleFrame> = fc.oneof(
  fc.record({
    type: fc.constant('open' as const),
    id,
    flow: fc.constantFrom('stream' as const, 'datagrams' as const),
    limit: offset,
    target: text,
  }),
  fc.record({ type: fc.constantFrom('opened' as const, 'credit' as const), id, limit: offset }),
  fc.record({ type: fc.constant('refused' as const), id, code, message: text }),
  fc.record({ type: fc.constant('data' as const), id, offset, bytes: bytes(1) }),
  fc.record({ type: fc.constant('end' as const), id, offset }),
  fc.record({ type: fc.constant('reset' as const), id, code }),
  fc.record({ type: fc.constant('datagram' as const), id, bytes: bytes(0) }),
);

test('any frames encode as the slow codec says, and decode to themselves', () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 6 }), (frames) => {
      const message: Message = { kind: 'mux', frames };
      const fast = encode(message);
      assert.equal(fast.toString('hex'), encodeSlowly(message));
      assert.equal(JSON.stringify(sorted(decode(fast))), JSON.stringify(sorted(message)));
    }),
  );
});

test('any other bytes are refused as malformed or are frames that encode back to them', () => {
  const mutated = fc
    .tuple(fc.array(frame, { minLength: 1, maxLength: 4 }), fc.nat(), fc.nat(255), fc.nat())
    .map(([frames, at, value, cut]) => {
      const message = encode({ kind: 'mux', frames });
      message[1 + (at % (message.length - 1))] = value;
      return message.subarray(0, 1 + (cut % message.length));
    });
  const random = fc.uint8Array({ maxLength: 64 }).map((array) => Buffer.from([KIND.mux, ...array]));
  fc.assert(
    fc.property(fc.oneof(mutated, random), (message) => {
      let decoded: Message;
      try {
        decoded = decode(message);
      } catch (error) {
        assert.equal(codeOf(error), 'MALFORMED');
        return;
      }
      const valid = decoded.kind === 'mux' && !JSON.stringify(decoded).includes('\ufffd');
      if (valid) assert.equal(encodeSlowly(decoded), message.toString('hex'));
    }),
    { numRuns: 2000 },
  );
});

test('acks and pings of a wrong length are malformed', () => {
  for (const length of [1, 4, 6, 10, 12]) {
    if (length !== 5) assert.throws(() => decodePing(Buffer.alloc(length)), { code: 'MALFORMED' });
    if (length !== 11) assert.throws(() => decodeAck(Buffer.alloc(length)), { code: 'MALFORMED' });
  }
});

function encode(message: Message): Buffer {
  switch (message.kind) {
    case 'ack':
      return encodeAck(message);
    case 'ping':
      return encodePing(KIND.ping, message.token);
    case 'pong':
      return encodePing(KIND.pong, message.token);
    case 'mux': {
      const frames = message.frames.map(toFrame);
      const arena = Buffer.alloc(1 + frames.reduce((sum, each) => sum + sizeOfFrame(each), 0));
      arena[0] = KIND.mux;
      const end = frames.reduce((at, each) => encodeFrame(arena, at, each), 1);
      assert.equal(end, arena.length);
      return arena;
    }
    case 'packets':
    default:
      throw new Error('records are not encoded here');
  }
}

function decode(message: Buffer): Message {
  switch (message[0]) {
    case KIND.ack:
      return { kind: 'ack', ...decodeAck(message) };
    case KIND.ping:
    case KIND.pong:
      return { kind: message[0] === KIND.ping ? 'ping' : 'pong', token: decodePing(message) };
    case undefined:
    default: {
      const frames: OracleFrame[] = [];
      decodeFrames(message, (each) => frames.push(fromFrame(each)));
      return { kind: 'mux', frames };
    }
  }
}

/** The same value with its keys in order, so that texts of equals are equal. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, entry]) => [key, sorted(entry)]));
}

function toFrame(of: OracleFrame): Frame {
  return 'bytes' in of ? { ...of, bytes: Buffer.from(of.bytes, 'hex') } : of;
}

function fromFrame(of: Frame): OracleFrame {
  return 'bytes' in of ? { ...of, bytes: of.bytes.toString('hex') } : of;
}
