import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cidr } from '../../../src/base/cidr.js';
import { hasCode } from '../../../src/base/errors.js';
import { createAddressPool } from '../../../src/manager/addresses.js';

const ranges = ['198.18.0.0/29'];

test('two sessions never hold one address', () => {
  const pool = createAddressPool();
  const held = [1, 2, 3, 4, 5, 6].map(() => pool.acquire({ ranges, taken: [] }));
  assert.equal(new Set(held).size, 6);
  assert.throws(
    () => pool.acquire({ ranges, taken: [] }),
    (error) => hasCode(error, 'NO_ADDRESS'),
  );
});

test('an address that was released is not handed out at once', () => {
  const pool = createAddressPool();
  const first = pool.acquire({ ranges, taken: [] });
  pool.release(first);
  assert.notEqual(pool.acquire({ ranges, taken: [] }), first);
});

test('a laptop gets the address back that it had', () => {
  const pool = createAddressPool();
  assert.equal(pool.acquire({ ranges, preferred: '198.18.0.5', taken: [] }), '198.18.0.5');
  assert.notEqual(pool.acquire({ ranges, preferred: '198.18.0.5', taken: [] }), '198.18.0.5');
});

for (const [what, offer, taken] of [
  ['the whole internet', ['0.0.0.0/0'], []],
  ['a public network', ['8.8.8.0/24'], []],
  ['loopback', ['127.0.0.0/8'], []],
  ['link-local', ['169.254.0.0/16'], []],
  ['a private network', ['10.0.0.0/8'], []],
  ['the cluster’s own network', ['198.18.0.0/16'], ['198.18.0.0/15']],
  ['a range around a cluster network', ['198.18.0.0/15'], ['198.18.7.0/24']],
  ['no network at all', ['x', '198.18.0.0/33', ''], []],
] as const) {
  test(`an offer of ${what} gets no address`, () => {
    const pool = createAddressPool();
    const request = { ranges: offer, preferred: '10.96.0.1', taken: taken.map(cidr) };
    assert.throws(
      () => pool.acquire(request),
      (error) => hasCode(error, 'NO_ADDRESS'),
    );
  });
}
