import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  cidr,
  contains,
  formatAddress,
  formatCidr,
  holds,
  merge,
  networkOf,
  overlaps,
  parseAddress,
  parseCidr,
  subtract,
  type Cidr,
} from '../../../src/base/cidr.js';

const address = fc.integer({ min: 0, max: 0xffff_ffff });
const network = fc
  .tuple(address, fc.integer({ min: 0, max: 32 }))
  .map(([base, prefix]) => networkOf(base, prefix));

for (const text of [
  '',
  '1.2.3',
  '1.2.3.4.5',
  '01.2.3.4',
  '256.1.1.1',
  '1.2.3.4/33',
  '1.2.3.4/',
  '1.2.3.4/8/8',
  ' 1.2.3.4',
  '::1',
]) {
  test(`"${text}" is no network`, () => assert.equal(parseCidr(text), undefined));
}

test('host bits are cleared, a bare address is a /32', () => {
  assert.equal(formatCidr(cidr('10.1.2.3/8')), '10.0.0.0/8');
  assert.equal(formatCidr(cidr('255.255.255.255')), '255.255.255.255/32');
});

test('what is formatted parses back', () => {
  fc.assert(fc.property(address, (value) => parseAddress(formatAddress(value)) === value));
  fc.assert(fc.property(network, (value) => formatCidr(cidr(formatCidr(value))) === formatCidr(value)));
});

test('two networks overlap exactly when one contains the other', () => {
  fc.assert(
    fc.property(network, network, (a, b) => overlaps(a, b) === (holds(a, b.base) || holds(b, a.base))),
  );
});

test('subtracting leaves exactly the addresses outside the holes', () => {
  fc.assert(
    fc.property(network, fc.array(network, { maxLength: 5 }), address, (from, holes, offset) => {
      const rest = subtract(from, holes);
      const probes = [networkOf(offset, 32), ...holes, from, ...rest].map(({ base }) => base);
      for (const probe of probes) {
        const expected = holds(from, probe) && !holes.some((hole) => holds(hole, probe));
        assert.equal(inAny(rest, probe), expected, formatAddress(probe));
      }
    }),
  );
});

test('merging keeps every address and leaves no network inside another', () => {
  fc.assert(
    fc.property(fc.array(network, { maxLength: 8 }), (networks) => {
      const merged = merge(networks);
      assert.ok(networks.every((inner) => merged.some((outer) => contains(outer, inner))));
      assert.ok(merged.every((a) => merged.every((b) => a === b || !overlaps(a, b))));
    }),
  );
});

function inAny(networks: readonly Cidr[], value: number): boolean {
  return networks.some((candidate) => holds(candidate, value));
}
