/**
 * A session outlives its websocket: the way to the cluster is cut in every manner, and what was open goes on, byte for
 * byte. Needs the tests' own cluster: its laptops' links can be cut.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { openCluster, type SuiteLaptop } from '../harness/cluster.js';
import type { Shape } from '../harness/shaper.js';
import {
  cz,
  connected,
  ensureManager,
  field,
  laptopState,
  assertAsBefore,
  status,
  succeeded,
  testLaptop,
} from './support.js';
import { until } from '../harness/until.js';
import { assertOutsideNames, awaitState, converse, lasting, lookupCode } from './watching.js';

/** Found within 8 s, mended within 5 s of the way's return. */
const FOUND_MS = 8000;
const MENDED_MS = 5000;
/** A connection whose packets were kept goes on as soon as they pass. */
const GOES_ON_MS = 2000;
/** What was sent to a daemon that stood still is lost: TCP sends it again after 0.2 s, doubled each time, thus before 26 s (RFC 6298 §5.5). */
const RESENT_MS = 8000;

interface Cut {
  readonly name: string;
  readonly laptop: string;
  readonly shape: Shape;
  readonly seconds: number;
}

const CUTS: readonly Cut[] = [
  { name: 'a silent cut of 60 s', laptop: 'life-long', shape: { cut: true }, seconds: 60 },
  { name: 'a silent cut', laptop: 'life-cut', shape: { cut: true }, seconds: 12 },
  { name: 'a cut of what is sent', laptop: 'life-up', shape: { up: { cut: true }, down: {} }, seconds: 12 },
  { name: 'a cut of what comes', laptop: 'life-down', shape: { up: {}, down: { cut: true } }, seconds: 12 },
  { name: 'a middlebox that resets', laptop: 'life-reset', shape: { reset: true }, seconds: 12 },
];

const cluster = await openCluster();
const skip = cluster.own ? false : 'needs the tests’ own cluster';

if (cluster.own) {
  const laptops = new Map<string, SuiteLaptop>();
  for (const { laptop } of CUTS) laptops.set(laptop, await testLaptop(cluster, laptop));
  const sleeper = await testLaptop(cluster, 'life-sleep');
  const leaver = await testLaptop(cluster, 'life-leave');

  before(() => ensureManager(cluster), { timeout: 200_000 });

  describe('a way that is lost and comes back', { concurrency: 8, timeout: 150_000 }, () => {
    for (const { name, laptop, shape, seconds } of CUTS) {
      test(`${name}: found within 8 s, mended within 5 s, an open connection goes on byte for byte`, async () => {
        const at = laptops.get(laptop);
        assert.ok(at);
        const { session, interface: former } = await connected(at, '-n', 'shop');
        const conversation = await converse(at);
        await at.shape(shape);
        const [lost] = await Promise.all([awaitState(at, 'reconnecting', FOUND_MS), lasting(seconds)]);
        assert.match(lost.lost?.reason ?? '', /./);
        assert.equal(lost.roundTripMs, null);
        assert.deepEqual([lost.session, lost.interface], [session, former]);
        const before = conversation.received;
        await at.shape({});
        const back = await awaitState(at, 'connected', MENDED_MS);
        await conversation.goesOn(GOES_ON_MS);
        assert.ok(conversation.received > before);
        assert.deepEqual([back.session, back.interface, back.lost], [session, former, null]);
        assert.equal(await conversation.end(), 'same');
      });
    }

    test('while the way is lost, known names are answered, unknown ones fail at once', async () => {
      const at = leaver;
      const before = await laptopState(at);
      const { session } = await connected(at, '-n', 'shop');
      assert.equal(await lookupCode(at, 'web.shop.svc.cluster.local'), 'NOERROR');
      await at.shape({ cut: true });
      await awaitState(at, 'reconnecting', FOUND_MS);
      assert.equal(await lookupCode(at, 'web.shop.svc.cluster.local'), 'NOERROR');
      assert.equal(await lookupCode(at, 'never-asked.shop.svc.cluster.local'), 'SERVFAIL');

      const asked = performance.now();
      succeeded(await cz(at, ['disconnect']));
      assert.ok(performance.now() - asked < 3000, 'disconnecting waits for nobody');
      assert.equal((await status(at)).state, 'disconnected');
      await assertAsBefore(at, before);
      const kept = await field(cluster, 'sessions -n cz-system', '{.items[*].metadata.uid}');
      assert.match(kept, new RegExp(session?.id ?? 'none'), 'the manager keeps it for the lease');
      await at.shape({});
      await until('an outside name', () => assertOutsideNames(at).then(() => true), { timeoutMs: 3000 });
    });

    test('a laptop that slept for 20 s is back by itself, its connections too', async () => {
      const { daemon } = await connected(sleeper, '-n', 'shop');
      const conversation = await converse(sleeper);
      await sleeper.run(['kill', '-STOP', String(daemon?.pid)]);
      await lasting(20);
      await sleeper.run(['kill', '-CONT', String(daemon?.pid)]);
      await awaitState(sleeper, 'connected', MENDED_MS);
      await conversation.goesOn(RESENT_MS);
      assert.equal((await awaitState(sleeper, 'connected', MENDED_MS)).lost, null);
      assert.equal(await conversation.end(), 'same');
    });
  });
} else {
  test('cuts of a laptop’s link', { skip });
}
