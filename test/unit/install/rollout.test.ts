/**
 * Waiting for the manager's pod: what ends the wait, what does not, and what of an earlier try counts for nothing. The
 * watches are played by the test; time is the test's own.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { StatefulSet } from 'kubernetes-types/apps/v1.js';
import type { ContainerState, Event, Pod } from 'kubernetes-types/core/v1.js';
import { CzError, hasCode } from '../../../src/base/errors.js';
import { openRollout, type Rollout } from '../../../src/install/rollout.js';
import type { KubeApi } from '../../../src/kube/api.js';
import type { WatchEvent } from '../../../src/kube/watch.js';

const SET = '/apis/apps/v1/namespaces/cz-system/statefulsets';
const PODS = '/api/v1/namespaces/cz-system/pods';
const EVENTS = '/api/v1/namespaces/cz-system/events';

/** The callbacks of one watch, without the type of its objects. */
interface Watched {
  onChange?(objects: ReadonlyMap<string, unknown>): void;
  onEvent?(event: WatchEvent<unknown>): void;
}

interface Stage {
  readonly rollout: Rollout;
  readonly lines: string[];
  readonly closed: () => number;
  show(path: string, ...objects: object[]): void;
  happen(event: Event): void;
}

/** What of the API a rollout uses; the test decides what comes out of it. */
function played(part: object): KubeApi {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rest of the interface is not called
  return part as KubeApi;
}

function createStage(texts: Readonly<Record<string, string>> = {}, timeoutMs = 120_000): Stage {
  const watches = new Map<string, Watched>();
  const lines: string[] = [];
  let closed = 0;
  const api = {
    watch(path: string, options: Watched) {
      watches.set(path, options);
      return { objects: new Map(), ready: () => Promise.resolve(), close: () => (closed += 1) };
    },
    getText: (path: string) => Promise.resolve(texts[path] ?? ''),
    get: () => Promise.reject(new CzError('NOT_PERMITTED', 'no nodes for you')),
  };
  const rollout = openRollout({
    api: played(api),
    namespace: 'cz-system',
    report: (line) => lines.push(line),
    timeoutMs,
  });
  return {
    rollout,
    lines,
    closed: () => closed,
    show: (path, ...objects) =>
      watches.get(path)?.onChange?.(new Map(objects.map((object, index) => [String(index), object]))),
    happen: (object) => watches.get(EVENTS)?.onEvent?.({ type: 'added', object }),
  };
}

const applied: StatefulSet = { metadata: { uid: 'set', name: 'cz-manager', generation: 2 } };

function setOf(observedGeneration: number, updateRevision = 'new'): StatefulSet {
  return { ...applied, status: { observedGeneration, updateRevision, replicas: 1 } };
}

function podOf(revision: string, state: ContainerState, ready = 'False'): Pod {
  const status = { name: 'manager', image: '', imageID: '', ready: false, restartCount: 0, state };
  return {
    metadata: { uid: revision, name: 'cz-manager-0', labels: { 'controller-revision-hash': revision } },
    spec: { nodeName: 'node1', containers: [{ name: 'manager', image: 'i' }] },
    status: { conditions: [{ type: 'Ready', status: ready }], containerStatuses: [status] },
  };
}

function warning(uid: string, reason: string, message: string): Event {
  return { metadata: {}, involvedObject: { uid }, type: 'Warning', reason, message };
}

function mockTime(t: TestContext): (ms: number) => void {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  return (ms) => t.mock.timers.tick(ms);
}

test('the Ready pod of what was applied ends the wait', async () => {
  const stage = createStage();
  const finished = stage.rollout.finished(applied);
  stage.show(SET, setOf(2));
  stage.show(PODS, podOf('new', { running: {} }));
  stage.show(PODS, podOf('new', { running: {} }, 'True'));
  assert.equal((await finished).metadata?.uid, 'new');
  assert.deepEqual(stage.lines, ['waiting for the pod', 'running on node "node1", not ready yet']);
});

test('a Ready pod of the former revision, or one not yet judged by the controller, does not', async () => {
  const stage = createStage();
  const finished = stage.rollout.finished(applied);
  stage.show(SET, setOf(1, 'old'));
  stage.show(PODS, podOf('old', { running: {} }, 'True'));
  stage.show(SET, setOf(2, 'new'));
  assert.equal(await Promise.race([finished, Promise.resolve('still waiting')]), 'still waiting');
  stage.show(PODS, podOf('new', { running: {} }, 'True'));
  assert.equal((await finished).metadata?.uid, 'new');
});

test('the former pod’s trouble is not the new one’s', async () => {
  const stage = createStage();
  const finished = stage.rollout.finished(applied);
  stage.show(SET, setOf(2));
  stage.show(PODS, podOf('old', { waiting: { reason: 'ImagePullBackOff' } }));
  stage.show(PODS, podOf('new', { running: {} }, 'True'));
  assert.equal((await finished).metadata?.uid, 'new');
});

test('what happened before is forgotten, what happens then is told', async () => {
  const stage = createStage();
  stage.happen(warning('set', 'FailedCreate', 'pods is forbidden: exceeded quota: former'));
  await stage.rollout.ready();
  const finished = stage.rollout.finished(applied);
  stage.show(SET, setOf(2));
  stage.happen(warning('set', 'FailedCreate', 'pods is forbidden: exceeded quota: present'));
  await assert.rejects(finished, /exceeded quota: present/);
});

test('a cause that may pass is told only after its grace', async (t) => {
  const pass = mockTime(t);
  const stage = createStage();
  const finished = stage.rollout.finished(applied);
  stage.show(SET, setOf(2));
  stage.show(PODS, podOf('new', { waiting: { reason: 'ErrImagePull', message: 'timeout' } }));
  pass(9_000);
  stage.show(PODS, podOf('new', { waiting: { reason: 'ContainerCreating' } }));
  pass(9_000);
  stage.show(PODS, podOf('new', { waiting: { reason: 'ErrImagePull', message: 'timeout' } }));
  pass(9_999);
  assert.equal(await Promise.race([finished, Promise.resolve('still waiting')]), 'still waiting');
  pass(1);
  await assert.rejects(finished, (error) => hasCode(error, 'IMAGE_PULL_FAILED'));
});

test('the end of the time tells what was last seen', async (t) => {
  const pass = mockTime(t);
  const stage = createStage({}, 60_000);
  const finished = stage.rollout.finished(applied);
  stage.show(SET, setOf(2));
  stage.show(PODS, podOf('new', { waiting: { reason: 'ContainerCreating' } }));
  pass(60_000);
  await assert.rejects(finished, /not ready after 60 s; last seen: starting on node "node1"/);
});

test('a crash is told with the last line of the log, even where the node may not be read', async () => {
  const stage = createStage({ [`${PODS}/cz-manager-0/log`]: 'one\nlast words\n' });
  const finished = stage.rollout.finished(applied);
  stage.show(SET, setOf(2));
  stage.show(PODS, podOf('new', { waiting: { reason: 'CrashLoopBackOff' } }));
  await assert.rejects(finished, /its last words: last words$/);
});

test('an interruption ends the wait, and close ends the watches', async () => {
  const stage = createStage();
  stage.rollout.close();
  assert.equal(stage.closed(), 3);
  const aborted = AbortSignal.abort();
  const api = {
    watch: () => ({ objects: new Map(), ready: () => Promise.resolve(), close: () => undefined }),
  };
  const rollout = openRollout({
    api: played(api),
    namespace: 'cz-system',
    report: () => undefined,
    timeoutMs: 1000,
    signal: aborted,
  });
  await assert.rejects(rollout.finished(applied), (error) => hasCode(error, 'INTERRUPTED'));
});
