/**
 * `cz install`: applies the manifests in their order by server-side apply, removes what a former install had and this
 * one has not, and waits until the pod is Ready. Doing it twice changes nothing.
 */
import type { StatefulSet } from 'kubernetes-types/apps/v1.js';
import type { Pod } from 'kubernetes-types/core/v1.js';
import { CzError, codeOf, hasCode, messageOf } from '../base/errors.js';
import type { KubeApi } from '../kube/api.js';
import { apiPath } from '../kube/path.js';
import { findExisting, type Existing } from './existing.js';
import { FIELD_MANAGER } from './identity.js';
import { createStages, type Manifest } from './manifests.js';
import {
  INSTALL_SELECTOR,
  collectionPath,
  findInstalled,
  listObjects,
  nameOf,
  objectPath,
  unlessMissing,
} from './resources.js';
import { openRollout } from './rollout.js';
import { checkChoices, mergeSettings, type Choices, type Settings } from './settings.js';

export interface InstallRequest {
  readonly namespace: string;
  readonly version: string;
  readonly choices: Choices;
  /** Gets progress, a line a step. */
  readonly report: (line: string) => void;
  /** For the pod to get Ready; default 120 000. A cause that lasts ends the wait at once. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface InstallResult {
  readonly namespace: string;
  readonly pod: string;
  readonly settings: Settings;
  /** Version that was there before. */
  readonly formerVersion: string | undefined;
}

/** Pulling an image of 60 MB over a slow line included (our choice). */
const READY_TIMEOUT_MS = 120_000;

/** Set on the StatefulSet's annotations when its pod could not be made: an update wakes its controller at once. */
const TRIED_ANNOTATION = 'cz.dev/tried';

/**
 * Installs, or brings what is there to this version and these choices, and returns when the manager's pod is Ready.
 * @throws USAGE · CONFLICT · CLUSTER_TOO_OLD · NOT_PERMITTED naming the object · the causes of diagnose.ts · TIMED_OUT
 */
export async function installManager(api: KubeApi, request: InstallRequest): Promise<InstallResult> {
  const { namespace, version, report, signal } = request;
  const choices = checkChoices(request.choices);
  const existing = await findExisting(api, namespace, signal);
  const settings = mergeSettings(version, choices, existing.former);
  report(announcement(request, settings, existing));
  const rollout = openRollout({
    api,
    namespace,
    report,
    timeoutMs: request.timeoutMs ?? READY_TIMEOUT_MS,
    signal,
  });
  try {
    await rollout.ready();
    const applied = await applyAll(api, request, settings, existing);
    const pod = await rollout.finished(applied);
    const formerVersion = existing.former?.version;
    return { namespace, pod: pod.metadata?.name ?? '', settings, formerVersion };
  } finally {
    rollout.close();
  }
}

function announcement(
  { namespace, version }: InstallRequest,
  settings: Settings,
  { former }: Existing,
): string {
  const what = `cz ${version}, image "${settings.image}", namespace "${namespace}"`;
  if (former === undefined) return `installing ${what}`;
  return former.version === version ? `applying ${what} again` : `upgrading cz ${former.version} to ${what}`;
}

async function applyAll(
  api: KubeApi,
  request: InstallRequest,
  settings: Settings,
  { former, adopted }: Existing,
): Promise<StatefulSet> {
  const { namespace, version, report, signal } = request;
  const stages = createStages({ namespace, version, settings, adopted });
  const last = stages.pop() ?? [];
  report(`namespace "${namespace}" has the PodSecurity level privileged: the manager's pod needs NET_ADMIN`);
  for (const stage of stages) await applyStage(api, stage, adopted, signal);
  if (former === undefined) return applyWorkload(api, last, signal);
  await prune(api, [...stages.flat(), ...last], report, signal);
  const stuck = await releaseStuckPods(api, namespace, signal);
  return applyWorkload(api, stuck ? last.map(withTriedNow) : last, signal);
}

/** The objects of a stage go side by side; the first refusal is told after all have been answered. */
async function applyStage(
  api: KubeApi,
  stage: readonly Manifest[],
  adopted: boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  const results = await Promise.allSettled(
    stage.map((object) => apply(api, object, !(adopted && object.kind === 'Namespace'), signal)),
  );
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

async function applyWorkload(
  api: KubeApi,
  [workload]: readonly Manifest[],
  signal: AbortSignal | undefined,
): Promise<StatefulSet> {
  return apply<StatefulSet>(api, workload ?? {}, true, signal);
}

/** Server-side apply: `force` takes fields over from whoever wrote them; never in a namespace that others made. */
async function apply<T>(
  api: KubeApi,
  object: Manifest,
  force: boolean,
  signal: AbortSignal | undefined,
): Promise<T> {
  const options = { fieldManager: FIELD_MANAGER, force, ...(signal === undefined ? {} : { signal }) };
  try {
    return await api.patch<T>(objectPath(object), object, 'apply', options);
  } catch (error) {
    throw explained(error, object);
  }
}

function explained(error: unknown, object: Manifest): unknown {
  const code = codeOf(error);
  if (!(error instanceof CzError) || code === undefined || code === 'INTERRUPTED') return error;
  const hint =
    object.kind === 'Namespace' && code === 'CONFLICT'
      ? 'its owner has set these labels: change them there, or choose another: --manager-namespace NAME'
      : hintFor(error);
  return new CzError(code, `applying ${nameOf(object)}: ${messageOf(error)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

function hintFor(error: CzError): string | undefined {
  if (!hasCode(error, 'NOT_PERMITTED')) return error.hint;
  return 'installing takes an administrator’s rights; give them this: cz install --print > cz.yaml; kubectl apply --server-side -f cz.yaml';
}

/** Removes what a former install made and this one does not want: another version's objects, left-out namespaces. */
async function prune(
  api: KubeApi,
  wanted: readonly Manifest[],
  report: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const keep = new Set(wanted.map(objectPath));
  const surplus = (await findInstalled(api, signal)).filter(
    (object) => object.kind !== 'Pod' && object.kind !== 'Namespace' && !keep.has(objectPath(object)),
  );
  for (const object of surplus) {
    report(`removing ${nameOf(object)}`);
    await unlessMissing(api.remove(objectPath(object)));
  }
}

/**
 * Removes pods that wait out a back-off (of minutes) for a cause that may be mended by now. Returns whether the
 * StatefulSet has no pod that works or is on its way.
 */
async function releaseStuckPods(
  api: KubeApi,
  namespace: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const found = await listObjects<Pod>(api, collectionPath('Pod', namespace), INSTALL_SELECTOR, signal);
  const stuck = found.filter((pod) =>
    pod.status?.containerStatuses?.some(({ state }) => isBackingOff(state?.waiting?.reason)),
  );
  for (const pod of stuck) {
    const { name = '', uid } = pod.metadata ?? {};
    const path = apiPath`/api/v1/namespaces/${namespace}/pods/${name}`;
    await unlessMissing(api.remove(path, uid === undefined ? {} : { uid }));
  }
  return stuck.length === found.length;
}

function isBackingOff(reason: string | undefined): boolean {
  return reason !== undefined && /BackOff$|^Err|Error$|^InvalidImageName$/.test(reason);
}

function withTriedNow(object: Manifest): Manifest {
  const metadata = object.metadata ?? {};
  const annotations = { ...metadata.annotations, [TRIED_ANNOTATION]: new Date().toISOString() };
  return { ...object, metadata: { ...metadata, annotations } };
}
