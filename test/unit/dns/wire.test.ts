import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatName, isWithin, labelsOf, lowerName, parseName, readName } from '../../../src/dns/wire.js';

const header = '000000000000000000000000';
const bytes = (hex: string) => Buffer.from(header + hex, 'hex');

test('a name is read with its compression undone', () => {
  const packed = Buffer.concat([bytes('0473686f7000'), Buffer.from('03776562c00c', 'hex')]);
  assert.deepEqual(readName(packed, 18), { name: '\x03web\x04shop\0', end: 24 });
});

const malformed: readonly [string, string][] = [
  ['a pointer to itself', 'c00c'],
  ['a pointer forward', 'c00e0000'],
  ['two pointers at each other', 'c00ec00c'],
  ['a pointer into the header', '0161c002'],
  ['a label past the end', '05616263'],
  ['no root at the end', '0161'],
  ['half a pointer', 'c0'],
  ['the reserved label types', '4061'],
  ['a name of more than 255 bytes', `3f${'61'.repeat(63)}`.repeat(4) + '00'],
];
for (const [what, hex] of malformed) {
  test(`${what} is no name`, () => assert.equal(readName(bytes(hex), 12), undefined));
}

test('any bytes are a name or none, without an exception or a loop', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(600), (random, offset) => {
      const read = readName(Buffer.from(random), offset);
      assert.ok(read === undefined || (read.name.length <= 255 && read.end <= random.length));
    }),
  );
});

const label = fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/);
test('a name written as text reads back the same', () => {
  fc.assert(
    fc.property(fc.array(label, { minLength: 1, maxLength: 8 }), (labels) => {
      const name = parseName(labels.join('.'));
      assert.ok(name !== undefined);
      assert.equal(formatName(name), labels.join('.'));
      assert.deepEqual(labelsOf(name), labels);
      assert.deepEqual(readName(Buffer.concat([bytes(''), Buffer.from(name, 'latin1')]), 12), {
        name,
        end: 12 + name.length,
      });
    }),
  );
});

test('only ASCII capitals are made small', () => {
  assert.equal(lowerName('\x03WeB\x02\xc9Z\0'), '\x03web\x02\xc9z\0');
});

test('a zone holds what ends in its labels, not what ends in its letters', () => {
  const zone = parseName('cluster.local') ?? '';
  assert.ok(isWithin(zone, zone));
  assert.ok(isWithin(parseName('web.cluster.local') ?? '', zone));
  assert.ok(!isWithin(parseName('mycluster.local') ?? '', zone));
  assert.ok(!isWithin(parseName('local') ?? '', zone));
});
