/**
 * Shapes: what they let through, where they say the fault is, and that they hold their bounds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { hasCode, messageOf } from '../../../src/base/errors.js';
import {
  flag,
  integer,
  json,
  list,
  map,
  nullable,
  object,
  oneOf,
  text,
  variant,
} from '../../../src/base/shape.js';

const person = object({ name: text(5), age: integer(0, 150) }, { pets: list(text(), 2) });

const faults: readonly [string, () => unknown, string][] = [
  ['a missing field', () => person({ name: 'ada' }), '"age" is no whole number'],
  ['a text that is too long', () => person({ name: 'adaada', age: 1 }), '"name" is longer than 5'],
  ['a number out of range', () => person({ name: 'ada', age: 151 }), '"age" is not within 0 … 150'],
  ['a fraction', () => person({ name: 'ada', age: 1.5 }), '"age" is no whole number'],
  ['an entry of a list', () => person({ name: 'ada', age: 1, pets: ['x', 2] }), '"pets[1]" is no text'],
  [
    'a list that is too long',
    () => person({ name: 'ada', age: 1, pets: ['a', 'b', 'c'] }),
    '"pets" has more than 2 entries',
  ],
  ['null for an object', () => person(null), '"value" is no object'],
  ['a list for an object', () => person([]), '"value" is no object'],
  ['a NUL in a text', () => text()('a\0b'), '"value" has a wrong form'],
  ['a value of a map', () => map(flag)({ a: 1 }, 'flags'), '"flags.a" is neither true nor false'],
  ['none of the words', () => oneOf('a', 'b')('c'), '"value" is none of a, b'],
  ['an unknown kind', () => variant('kind', { a: json })({ kind: 'toString' }), '"kind" is of no known kind'],
  ['a field of the prototype', () => object({ toString: text() })({}), '"toString" is no text'],
];
for (const [what, call, message] of faults) {
  test(`${what} is named with its place`, () => {
    assert.throws(call, (error) => hasCode(error, 'MALFORMED') && messageOf(error) === message);
  });
}

test('what fits comes back without what is not named', () => {
  assert.deepEqual(person({ name: 'ada', age: 36, later: 1 }), { name: 'ada', age: 36 });
  assert.deepEqual(person({ name: 'ada', age: 36, pets: ['x'] }), { name: 'ada', age: 36, pets: ['x'] });
  assert.equal(nullable(text())(null), null);
});

test('free JSON comes back as it is, down to a depth', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      assert.deepEqual(JSON.stringify(json(value)), JSON.stringify(value));
    }),
  );
  let deep: unknown = 1;
  for (let depth = 0; depth < 40; depth += 1) deep = [deep];
  assert.throws(
    () => json(deep),
    (error) => hasCode(error, 'MALFORMED'),
  );
});

test('a key named __proto__ changes nothing but itself', () => {
  const value = map(text())(JSON.parse('{"__proto__":"x"}'));
  assert.deepEqual(Object.keys(value), ['__proto__']);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
});
