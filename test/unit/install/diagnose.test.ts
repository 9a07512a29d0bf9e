/**
 * Why a pod does not get ready: statuses and events as Kubernetes 1.36 writes them, and the cause that is told.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StatefulSet } from 'kubernetes-types/apps/v1.js';
import type { ContainerState, Event, Pod, PodCondition } from 'kubernetes-types/core/v1.js';
import {
  describeProgress,
  diagnose,
  explainCrash,
  type Cause,
  type PodState,
} from '../../../src/install/diagnose.js';

const statefulSet: StatefulSet = { metadata: { uid: 'set', name: 'cz-manager', namespace: 'cz-system' } };

function podOf(state: ContainerState | undefined, conditions: PodCondition[] = []): Pod {
  const status = { name: 'manager', image: '', imageID: '', ready: false, restartCount: 0 };
  return {
    metadata: { uid: 'pod', name: 'cz-manager-0', namespace: 'cz-system' },
    spec: { nodeName: 'node1', containers: [{ name: 'manager', image: 'cz-manager:1' }] },
    status: { conditions, containerStatuses: state === undefined ? [] : [{ ...status, state }] },
  };
}

function eventOf(about: string, reason: string, message: string, type = 'Warning'): Event {
  return { metadata: {}, involvedObject: { uid: about }, reason, message, type };
}

function stateOf(pod: Pod | undefined, ...events: Event[]): PodState {
  return { statefulSet, pod, events };
}

const failedCreate =
  'create Pod cz-manager-0 in StatefulSet cz-manager failed error: pods "cz-manager-0" is forbidden: ';
const unschedulable = podOf(undefined, [
  { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/2 nodes are available' },
]);

interface Case {
  readonly name: string;
  readonly state: PodState;
  readonly code: string;
  readonly says: RegExp;
  readonly atOnce: boolean;
}

const cases: Case[] = [
  {
    name: 'a quota that is used up',
    state: stateOf(
      undefined,
      eventOf('set', 'FailedCreate', `${failedCreate}exceeded quota: q, requested: pods=1`),
    ),
    code: 'QUOTA_EXCEEDED',
    says: /exceeded quota: q/,
    atOnce: true,
  },
  {
    name: 'PodSecurity',
    state: stateOf(
      undefined,
      eventOf('set', 'FailedCreate', `${failedCreate}violates PodSecurity "restricted:latest": runAsUser=0`),
    ),
    code: 'POD_SECURITY',
    says: /violates PodSecurity "restricted:latest"/,
    atOnce: true,
  },
  {
    name: 'an admission webhook',
    state: stateOf(
      undefined,
      eventOf('set', 'FailedCreate', 'admission webhook "gate.example" denied the request: no user 0'),
    ),
    code: 'POD_REFUSED',
    says: /gate\.example/,
    atOnce: true,
  },
  {
    name: 'an account that is not there yet',
    state: stateOf(
      undefined,
      eventOf('set', 'FailedCreate', `${failedCreate}error looking up service account cz-system/cz-manager`),
    ),
    code: 'POD_REFUSED',
    says: /service account/,
    atOnce: false,
  },
  {
    name: 'no node',
    state: stateOf(unschedulable),
    code: 'UNSCHEDULABLE',
    says: /0\/2 nodes/,
    atOnce: false,
  },
  {
    name: 'an image that cannot be pulled',
    state: stateOf(podOf({ waiting: { reason: 'ImagePullBackOff', message: 'Back-off: no such host' } })),
    code: 'IMAGE_PULL_FAILED',
    says: /node "node1" cannot get the image "cz-manager:1": Back-off: no such host/,
    atOnce: true,
  },
  {
    name: 'the first failed pull, which may be chance',
    state: stateOf(podOf({ waiting: { reason: 'ErrImagePull', message: 'i/o timeout' } })),
    code: 'IMAGE_PULL_FAILED',
    says: /i\/o timeout/,
    atOnce: false,
  },
  {
    name: 'an image that must be there and is not',
    state: stateOf(podOf({ waiting: { reason: 'ErrImageNeverPull' } })),
    code: 'IMAGE_PULL_FAILED',
    says: /ErrImageNeverPull/,
    atOnce: true,
  },
  {
    name: 'a runtime that refuses the TUN device',
    state: stateOf(
      podOf({
        waiting: { reason: 'CreateContainerError', message: 'crun: mknod `/dev/net/tun`: not permitted' },
      }),
    ),
    code: 'TUN_REFUSED',
    says: /not permitted/,
    atOnce: true,
  },
  {
    name: 'a container that cannot be made',
    state: stateOf(podOf({ waiting: { reason: 'RunContainerError', message: 'exec format error' } })),
    code: 'CONTAINER_FAILED',
    says: /exec format error/,
    atOnce: true,
  },
  {
    name: 'a manager that ends again and again',
    state: stateOf(podOf({ waiting: { reason: 'CrashLoopBackOff', message: 'back-off' } })),
    code: 'POD_CRASHED',
    says: /ends again/,
    atOnce: true,
  },
  {
    name: 'no network for the pod',
    state: stateOf(
      podOf({ waiting: { reason: 'ContainerCreating' } }),
      eventOf('pod', 'FailedCreatePodSandBox', 'cni'),
    ),
    code: 'POD_FAILED',
    says: /cni/,
    atOnce: false,
  },
  {
    name: 'a probe that fails',
    state: stateOf(podOf({ running: {} }), eventOf('pod', 'Unhealthy', 'Readiness probe failed: refused')),
    code: 'POD_UNHEALTHY',
    says: /Readiness probe failed/,
    atOnce: false,
  },
];

for (const { name, state, code, says, atOnce } of cases) {
  test(`${name} is told${atOnce ? ' at once' : ' after a grace'}`, () => {
    const cause = diagnose(state);
    assert.equal(cause?.code, code);
    assert.match(cause.message, says);
    assert.equal(cause.graceMs === 0, atOnce);
    assert.notEqual(cause.hint, '');
  });
}

const fine: [string, PodState][] = [
  ['a pod not made yet', stateOf(undefined)],
  ['a pod that is starting', stateOf(podOf({ waiting: { reason: 'ContainerCreating' } }))],
  ['a pod that runs', stateOf(podOf({ running: {} }))],
  ['another object’s trouble', stateOf(podOf({ running: {} }), eventOf('other', 'Unhealthy', 'x'))],
  [
    'a warning that a later event overtook',
    stateOf(
      podOf({ waiting: { reason: 'ContainerCreating' } }),
      eventOf('pod', 'FailedMount', 'not there yet'),
      eventOf('pod', 'Pulling', 'pulling', 'Normal'),
    ),
  ],
];
for (const [name, state] of fine) {
  test(`${name} is no failure`, () => {
    assert.equal(diagnose(state), undefined);
  });
}

test('where an autoscaler is adding a node the wait is longer', () => {
  const plain = diagnose(stateOf(unschedulable))?.graceMs ?? 0;
  const growing = diagnose(stateOf(unschedulable, eventOf('pod', 'TriggeredScaleUp', 'adding', 'Normal')));
  assert.ok((growing?.graceMs ?? 0) > plain);
});

test('control characters of the cluster do not reach the message, and it is bounded', () => {
  const message = `\u001b[31m${'x'.repeat(5000)}\r\n`;
  const cause = diagnose(stateOf(podOf({ waiting: { reason: 'ImagePullBackOff', message } })));
  assert.doesNotMatch(cause?.message ?? '', /\p{Cc}/u);
  assert.ok((cause?.message.length ?? 9999) < 800);
});

const crash: Cause = { code: 'POD_CRASHED', message: 'it crashed', hint: 'look', graceMs: 0 };

test('a crash is told with the manager’s last words', () => {
  const log =
    '{"message":"starting"}\n{"message":"cannot go on","code":"NAT","error":{"message":"nft: denied"}}\n';
  assert.equal(
    explainCrash(crash, log, 'containerd://2').message,
    'it crashed; its last words: cannot go on: nft: denied',
  );
  assert.match(
    explainCrash(crash, 'starting\nSegmentation fault\n', undefined).message,
    /Segmentation fault$/,
  );
  assert.deepEqual(explainCrash(crash, '', undefined), crash);
});

test('a manager that gets no TUN device names the runtime and the versions that refuse it', () => {
  const log =
    '{"message":"cannot go on","code":"TUN_MISSING","error":{"message":"opening \\"/dev/net/tun\\": EPERM"}}';
  const told = explainCrash(crash, log, 'cri-o://1.30.1');
  assert.equal(told.code, 'TUN_REFUSED');
  assert.match(told.message, /dev\/net\/tun.*cri-o:\/\/1\.30\.1/);
  assert.match(told.hint, /1\.2\.4/);
});

const steps: [PodState, string][] = [
  [stateOf(undefined), 'waiting for the pod'],
  [stateOf({ ...podOf(undefined), spec: { containers: [] } }), 'waiting for a node'],
  [stateOf(podOf({ waiting: {} })), 'starting on node "node1"'],
  [stateOf(podOf({ waiting: {} }), eventOf('pod', 'Pulling', '', 'Normal')), 'pulling image "cz-manager:1"'],
  [stateOf(podOf({ running: {} })), 'running on node "node1", not ready yet'],
];
for (const [state, line] of steps) {
  test(`progress says "${line}"`, () => {
    assert.equal(describeProgress(state), line);
  });
}
