import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Entry } from '../../../src/dns/answer.js';
import { createCache } from '../../../src/dns/cache.js';

const entry = (size: number): Entry => ({
  bytes: Buffer.alloc(size),
  ttlOffsets: [],
  storedAtMs: 0,
  expiresAtMs: 1,
  fromCluster: true,
});

test('a cache holds no more entries than its limit, and those asked for stay longest', () => {
  const cache = createCache(3);
  for (const key of ['a', 'b', 'c']) cache.set(key, entry(10));
  cache.get('a');
  cache.set('d', entry(10));
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => cache.get(key) !== undefined),
    [true, false, true, true],
  );
  assert.equal(cache.size, 3);
});

test('a cache holds no more bytes than its limit, whatever is asked for', () => {
  const cache = createCache(1000, 10_000);
  for (let index = 0; index < 100; index++) {
    cache.set(`k${index}`, entry(700));
    for (let other = 0; other <= index; other++) cache.get(`k${other}`);
    assert.ok(cache.bytes <= 10_000);
  }
  assert.equal(cache.size, 10);
  cache.forget(() => true);
  assert.deepEqual([cache.size, cache.bytes], [0, 0]);
});
