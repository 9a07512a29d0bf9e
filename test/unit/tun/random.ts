/**
 * Random and half-right records, from a seed. What a TUN must do with them is only: nothing bad.
 */
import assert from 'node:assert/strict';
import { codeOf } from '../../../src/base/errors.js';
import { CLUSTER_ADDRESS, LAPTOP_ADDRESS, type Pair } from './pair.js';
import { icmp, record, tcp, udp } from './records.js';

const ROUNDS = 20_000;

/** Protocol, what follows the IP header, the virtio header in hex. */
type Kind = readonly [number, Buffer, string | undefined];

let state = 0;

/** Writes them to both ends, and checks that each kind of outcome came to be. */
export function writeRandomRecords(pair: Pair, seed: number): void {
  state = seed;
  let malformed = 0;
  for (let i = 0; i < ROUNDS; i++) {
    try {
      (below(2) === 0 ? pair.laptop : pair.manager).write(damaged(sound()));
    } catch (error) {
      assert.equal(codeOf(error), 'MALFORMED');
      malformed++;
    }
  }
  assert.ok(malformed > 100);
  for (const { writtenPackets, droppedFilter, droppedMalformed } of [
    pair.laptop.stats(),
    pair.manager.stats(),
  ])
    assert.ok(Math.min(writtenPackets, droppedFilter, droppedMalformed) > 100);
}

function sound(): Buffer {
  const data = Buffer.alloc(below(2000), below(256));
  const kinds: [Kind, ...Kind[]] = [
    [
      17,
      udp(below(65_536), below(65_536), data),
      pick(['01000000000014000600', '01051c00640014000600', undefined]),
    ],
    [6, Buffer.concat([tcp(below(65_536), 80, below(256)), data]), pick(['01012800640014001000', undefined])],
    [1, icmp(below(20), 'data'), undefined],
  ];
  const [protocol, payload, virtio] = pick(kinds);
  const [source, destination] =
    below(2) === 0 ? [LAPTOP_ADDRESS, CLUSTER_ADDRESS] : [CLUSTER_ADDRESS, LAPTOP_ADDRESS];
  return record(
    { source, destination, protocol, payload, fragment: pick([0, 0, 0, 0x2000, 0x2001, 5]) },
    virtio,
  );
}

/** Changes a few bytes, mostly early ones, or cuts the end off; sometimes nothing. */
function damaged(bytes: Buffer): Buffer {
  for (let n = below(3); n > 0; n--) bytes[4 + below(60)] = below(256);
  if (below(20) === 0) bytes[below(4)] = below(256);
  return below(20) === 0 ? bytes.subarray(0, below(bytes.length)) : bytes;
}

function pick<T>(list: readonly [T, ...T[]]): T {
  return list[below(list.length)] ?? list[0];
}

/** mulberry32: small, repeatable; quality hardly matters here. */
function below(bound: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % bound;
}
