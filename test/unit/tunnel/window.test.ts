/**
 * The path window on modelled paths: the link is used, and a small request beside bulk does not wait long.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PathWindow } from '../../../src/tunnel/window.js';
import { simulate, type Outcome, type PathModel } from './path-model.js';

/** Bytes per ms of so many Mbit/s. */
const mbit = (rate: number) => rate * 125;
const steady = (rate: number, roundTripMs: number): PathModel => ({
  rate: () => mbit(rate),
  delayMs: roundTripMs / 2,
});

const cases: [string, PathModel, { used: number; p50: number }][] = [
  ['100 Mbit/s, 50 ms', steady(100, 50), { used: 0.85, p50: 75 }],
  ['100 Mbit/s, 10 ms', steady(100, 10), { used: 0.85, p50: 25 }],
  ['20 Mbit/s, 30 ms', steady(20, 30), { used: 0.85, p50: 130 }],
  ['1 Gbit/s, 20 ms', steady(1000, 20), { used: 0.85, p50: 28 }],
  ['4 Gbit/s, 0.3 ms', steady(4000, 0.3), { used: 0.85, p50: 5 }],
  [
    '3 Gbit/s, 0.3 ms, whose processor is elsewhere for up to 3 ms now and then',
    { ...steady(3000, 0.3), stall: stalls(3, 0.02) },
    { used: 0.6, p50: 6 },
  ],
];

for (const [name, model, least] of cases) {
  test(`${name}: the link is used and requests pass`, () => {
    const outcome = simulate(model, 3000, 20_000);
    assert.ok(outcome.used >= least.used, `used: ${said(outcome)}`);
    assert.ok(outcome.p50 <= least.p50, `p50: ${said(outcome)}`);
  });
}

test('a link that gets five times slower has a short queue again within 3 s', () => {
  const model: PathModel = { rate: (at) => mbit(at < 8000 ? 100 : 20), delayMs: 25 };
  const outcome = simulate(model, 11_000, 20_000);
  assert.ok(outcome.p50 <= 150 && outcome.used >= 0.8, said(outcome));
});

test('a link that gets ten times faster is used again within 3 s', () => {
  const model: PathModel = { rate: (at) => mbit(at < 8000 ? 20 : 200), delayMs: 15 };
  const outcome = simulate(model, 11_000, 20_000);
  assert.ok(outcome.used >= 0.8, said(outcome));
});

test('acks beyond what was sent, and acks that go back, are violations', () => {
  const window = new PathWindow();
  window.sent(0, 1000);
  window.acked(1, 600, 0);
  assert.throws(() => window.acked(2, 1001, 0), { code: 'MALFORMED' });
  assert.throws(() => window.acked(2, 599, 0), { code: 'MALFORMED' });
});

test('a peer that lies about how long it held an ack cannot make the window leave its bounds', () => {
  const window = new PathWindow();
  let total = 0;
  for (let at = 1; at < 5000; at += 1) {
    window.sent(at, 100_000);
    total += 100_000;
    window.acked(at + 0.5, total, at % 2 === 0 ? 1e9 : -1e9);
    assert.ok(window.windowBytes >= 64 * 1024 && window.windowBytes <= 8 * 1024 * 1024);
  }
});

function stalls(most: number, part: number): (at: number) => number {
  let state = 42;
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  return () => (random() < part ? random() * most : 0);
}

function said({ used, p50, p90, windowBytes }: Outcome): string {
  return `${(used * 100).toFixed(0)} % used, p50 ${p50.toFixed(1)} ms, p90 ${p90.toFixed(1)} ms, window ${Math.round(windowBytes)}`;
}
