/** The words for a link on the harness's command line. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseShape } from '../../cluster/harness/shape-text.js';

for (const [text, up, down] of [
  ['plain', {}, {}],
  ['', {}, {}],
  ['cut', { cut: true }, { cut: true }],
  ['up-cut', { cut: true }, {}],
  ['down-cut,up-reset', { reset: true }, { cut: true }],
  ['rate=1.5gbit', { bitsPerSecond: 1.5e9 }, { bitsPerSecond: 1.5e9 }],
  ['delay=250us,limit=64kb', { delayMs: 0.25, limitBytes: 64_000 }, { delayMs: 0.25, limitBytes: 64_000 }],
  ['loss=1%,down-loss=100%', { loss: 0.01 }, { loss: 1 }],
] as const) {
  test(`"${text}" is understood`, () => assert.deepEqual(parseShape(text), { up, down }));
}

for (const text of [
  'rate',
  'rate=fast',
  'rate=1',
  'delay=1mbit',
  'cut=up',
  'loss=1',
  'speed=1mbit',
  '-cut',
  'up-',
]) {
  test(`"${text}" is refused by name`, () => {
    assert.throws(() => parseShape(text), { code: 'USAGE', message: `"${text}" says nothing about a link` });
  });
}
