/**
 * Waits until the applied manager is Ready, by watches alone, telling each step; ends early with the cause when the pod
 * cannot get there.
 */
import type { StatefulSet } from 'kubernetes-types/apps/v1.js';
import type { Event, Node, Pod } from 'kubernetes-types/core/v1.js';
import { CzError } from '../base/errors.js';
import type { KubeApi } from '../kube/api.js';
import { apiPath } from '../kube/path.js';
import {
  describeProgress,
  diagnose,
  explainCrash,
  hasCrashed,
  type Cause,
  type PodState,
} from './diagnose.js';
import { MANAGER, REPLICAS } from './identity.js';
import { INSTALL_SELECTOR, collectionPath } from './resources.js';

export interface RolloutOptions {
  readonly api: KubeApi;
  readonly namespace: string;
  /** Gets each step once. */
  readonly report: (line: string) => void;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** A rollout that is being watched. */
export interface Rollout {
  /** Resolves when the watches stand, so that no event of what is applied next is missed. */
  ready(): Promise<void>;
  /**
   * Resolves with the Ready pod of the StatefulSet in this generation.
   * @throws a cause of diagnose.ts · TIMED_OUT with the last thing known · INTERRUPTED
   */
  finished(applied: StatefulSet): Promise<Pod>;
  /** Idempotent. */
  close(): void;
}

/** Events kept for the diagnosis (our choice; far more than one install causes). */
const EVENTS_LIMIT = 256;
const LOG_TAIL_BYTES = 8192;

/** Starts to watch. */
export function openRollout(options: RolloutOptions): Rollout {
  const { api, namespace } = options;
  const board = createBoard();
  const own = { fieldSelector: `metadata.name=${MANAGER}` };
  const sets = api.watch<StatefulSet>(collectionPath('StatefulSet', namespace), {
    ...own,
    onChange: (objects) => board.set({ statefulSet: first(objects) }),
  });
  const pods = api.watch<Pod>(collectionPath('Pod', namespace), {
    labelSelector: INSTALL_SELECTOR,
    onChange: (objects) => board.set({ pod: newest(objects) }),
  });
  const events = api.watch<Event>(apiPath`/api/v1/namespaces/${namespace}/events`, {
    onEvent: ({ type, object }) => (type === 'removed' ? undefined : board.add(object)),
  });
  const watches = [sets, pods, events];
  return {
    ready: async () => {
      await Promise.all(watches.map((watch) => watch.ready()));
      board.forgetEvents();
    },
    finished: (applied) => waitReady(options, board, applied),
    close: () => {
      for (const watch of watches) watch.close();
    },
  };
}

interface Board {
  readonly state: PodState;
  set(part: Partial<PodState>): void;
  add(event: Event): void;
  /** What happened before is no cause of what comes. */
  forgetEvents(): void;
  onChange: () => void;
}

function createBoard(): Board {
  let state: PodState = { statefulSet: undefined, pod: undefined, events: [] };
  const board: Board = {
    get state() {
      return state;
    },
    set(part) {
      state = { ...state, ...part };
      board.onChange();
    },
    add: (event) => board.set({ events: [...state.events, event].slice(-EVENTS_LIMIT) }),
    forgetEvents: () => board.set({ events: [] }),
    onChange: () => undefined,
  };
  return board;
}

function first<T>(objects: ReadonlyMap<string, T>): T | undefined {
  return [...objects.values()][0];
}

function newest(objects: ReadonlyMap<string, Pod>): Pod | undefined {
  const age = (pod: Pod) => pod.metadata?.creationTimestamp ?? '';
  return [...objects.values()].sort((a, b) => age(a).localeCompare(age(b))).at(-1);
}

async function waitReady(options: RolloutOptions, board: Board, applied: StatefulSet): Promise<Pod> {
  const outcome = await follow(options, board, applied);
  if ('pod' in outcome) return outcome.pod;
  throw await failure(options, board.state, outcome.cause);
}

type Outcome = { readonly pod: Pod } | { readonly cause: Cause };

/** Resolves at the first of: Ready, a cause that lasts or outlived its grace, the end of the time. */
function follow(options: RolloutOptions, board: Board, applied: StatefulSet): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const judge = createJudge(options, (outcome) => end(() => resolve(outcome)));
    const interrupted = () =>
      end(() => reject(new CzError('INTERRUPTED', 'waiting for the manager was interrupted')));
    const timer = setTimeout(
      () => end(() => resolve({ cause: outOfTime(options, board.state) })),
      options.timeoutMs,
    );
    const end = (settle: () => void) => {
      clearTimeout(timer);
      judge.close();
      board.onChange = () => undefined;
      options.signal?.removeEventListener('abort', interrupted);
      settle();
    };
    board.onChange = () => judge.look(board.state, applied);
    if (options.signal?.aborted === true) interrupted();
    else options.signal?.addEventListener('abort', interrupted, { once: true });
    judge.look(board.state, applied);
  });
}

interface Judge {
  look(state: PodState, applied: StatefulSet): void;
  close(): void;
}

function createJudge(options: RolloutOptions, decide: (outcome: Outcome) => void): Judge {
  let told = '';
  let grace: { readonly key: string; readonly timer: NodeJS.Timeout } | undefined;
  const forget = () => {
    clearTimeout(grace?.timer);
    grace = undefined;
  };
  const consider = (cause: Cause | undefined) => {
    const key = cause === undefined ? undefined : `${cause.code} ${cause.graceMs}`;
    if (key === grace?.key && cause?.graceMs !== 0) return;
    forget();
    if (cause === undefined || key === undefined) return;
    if (cause.graceMs === 0) decide({ cause });
    else grace = { key, timer: setTimeout(() => decide({ cause }), cause.graceMs) };
  };
  return {
    look(state, applied) {
      const pod = readyPod(state, applied);
      if (pod !== undefined) return decide({ pod });
      const line = describeProgress(state);
      if (line !== told) options.report(line);
      told = line;
      if (isCurrent(state, applied)) consider(diagnose(state));
    },
    close: forget,
  };
}

/** Returns whether the controller has seen what was applied: before, the pod's troubles are those of its predecessor. */
function isCurrent({ statefulSet, pod }: PodState, applied: StatefulSet): boolean {
  const { generation = 0 } = applied.metadata ?? {};
  if ((statefulSet?.status?.observedGeneration ?? -1) < generation) return false;
  return pod === undefined || revisionOf(pod) === statefulSet?.status?.updateRevision;
}

function readyPod(state: PodState, applied: StatefulSet): Pod | undefined {
  const { pod, statefulSet } = state;
  if (pod === undefined || !isCurrent(state, applied)) return undefined;
  const ready = pod.status?.conditions?.find((condition) => condition.type === 'Ready');
  const alive = pod.metadata?.deletionTimestamp === undefined;
  return alive && ready?.status === 'True' && (statefulSet?.status?.replicas ?? 0) >= REPLICAS
    ? pod
    : undefined;
}

function revisionOf(pod: Pod): string | undefined {
  return pod.metadata?.labels?.['controller-revision-hash'];
}

function outOfTime(options: RolloutOptions, state: PodState): Cause {
  const known = diagnose(state);
  if (known !== undefined) return known;
  const seconds = Math.round(options.timeoutMs / 1000);
  return {
    code: 'TIMED_OUT',
    message: `the manager is not ready after ${seconds} s; last seen: ${describeProgress(state)}`,
    hint: `kubectl -n ${options.namespace} describe statefulset,pod`,
    graceMs: 0,
  };
}

/** A crash is told with the manager's last words and the runtime's name: two more questions, only then. */
async function failure(options: RolloutOptions, state: PodState, cause: Cause): Promise<CzError> {
  const { api, namespace } = options;
  const { pod } = state;
  const told = { ...cause };
  if (pod !== undefined && (hasCrashed(pod) || cause.code === 'TUN_REFUSED')) {
    const log = await optional(readLog(api, namespace, pod.metadata?.name ?? ''));
    const runtime = await optional(readRuntime(api, pod.spec?.nodeName ?? ''));
    Object.assign(told, explainCrash(cause, log ?? '', runtime));
  }
  return new CzError(told.code, told.message, { hint: told.hint });
}

function readLog(api: KubeApi, namespace: string, pod: string): Promise<string> {
  const query = { tailLines: '20', limitBytes: String(LOG_TAIL_BYTES) };
  return api.getText(apiPath`/api/v1/namespaces/${namespace}/pods/${pod}/log`, { query });
}

async function readRuntime(api: KubeApi, name: string): Promise<string | undefined> {
  const node = await api.get<Node>(apiPath`/api/v1/nodes/${name}`);
  return node.status?.nodeInfo?.containerRuntimeVersion;
}

/** What makes an error clearer must not replace it. */
async function optional<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof CzError) return undefined;
    throw error;
  }
}
