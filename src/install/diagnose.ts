/**
 * Why the manager's pod does not get ready: out of the pod's status and the events, in one sentence with the next
 * step. Pure. Texts of other programs are matched only where Kubernetes gives no reason code.
 */
import type { StatefulSet } from 'kubernetes-types/apps/v1.js';
import type { ContainerStatus, Event, Pod } from 'kubernetes-types/core/v1.js';

/** What is known at one moment. */
export interface PodState {
  readonly statefulSet: StatefulSet | undefined;
  readonly pod: Pod | undefined;
  /** Events about these two, since the install began. */
  readonly events: readonly Event[];
}

/** A cause. */
export interface Cause {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  /** How long it may pass by itself; 0: waiting changes nothing. */
  readonly graceMs: number;
}

/** Our choices: a slow volume needs some seconds; a probe that fails is judged by the kubelet; a new machine boots in a minute or two. */
const SOME_GRACE_MS = 10_000;
const PROBE_GRACE_MS = 45_000;
const NODE_GRACE_MS = 110_000;

/** Longest text of the cluster that a message quotes (our choice). */
const QUOTE_LIMIT = 600;

/** Returns what keeps the pod from getting ready, or undefined while all goes its way. */
export function diagnose(state: PodState): Cause | undefined {
  const { pod } = state;
  if (pod === undefined || pod.metadata?.deletionTimestamp !== undefined) return creationCause(state);
  return schedulingCause(pod, state.events) ?? containerCause(pod) ?? eventCause(state);
}

/** Returns what the pod is doing, for a progress line. */
export function describeProgress(state: PodState): string {
  const { pod } = state;
  if (pod === undefined) return 'waiting for the pod';
  if (pod.metadata?.deletionTimestamp !== undefined) return 'the former pod is ending';
  if (pod.spec?.nodeName === undefined) return 'waiting for a node';
  const status = statusOf(pod);
  if (status?.state?.running !== undefined) return `running on node "${pod.spec.nodeName}", not ready yet`;
  const pulling = state.events.some((event) => event.reason === 'Pulling' && isAbout(event, pod));
  const image = pod.spec.containers[0]?.image ?? '';
  return pulling ? `pulling image "${image}"` : `starting on node "${pod.spec.nodeName}"`;
}

/** Returns whether the manager's container has ended at least once and is about to be started again. */
export function hasCrashed(pod: Pod | undefined): boolean {
  const status = pod === undefined ? undefined : statusOf(pod);
  return status?.state?.waiting?.reason === 'CrashLoopBackOff';
}

/** The StatefulSet's controller could not create the pod: admission refused it. */
function creationCause({ statefulSet, events }: PodState): Cause | undefined {
  const refused = events.findLast((event) => event.reason === 'FailedCreate' && isAbout(event, statefulSet));
  if (refused === undefined) return undefined;
  const said = quote(refused.message);
  const namespace = statefulSet?.metadata?.namespace ?? '';
  if (/violates PodSecurity/.test(said)) return podSecurity(said, namespace);
  if (/exceeded quota|must specify|insufficient quota/.test(said)) return quota(said, namespace);
  const settled = /is forbidden|denied the request|is invalid/.test(said) && !/service ?account/i.test(said);
  return {
    code: 'POD_REFUSED',
    message: `the cluster refuses the manager's pod: ${said}`,
    hint: 'the policy or webhook that the message names has to let it in; cz install --print shows the pod',
    graceMs: settled ? 0 : SOME_GRACE_MS,
  };
}

function podSecurity(said: string, namespace: string): Cause {
  return {
    code: 'POD_SECURITY',
    message: `PodSecurity refuses the manager's pod: ${said}`,
    hint: `kubectl label namespace ${namespace} pod-security.kubernetes.io/enforce=privileged --overwrite`,
    graceMs: 0,
  };
}

function quota(said: string, namespace: string): Cause {
  return {
    code: 'QUOTA_EXCEEDED',
    message: `a quota refuses the manager's pod: ${said}`,
    hint: `kubectl -n ${namespace} describe resourcequota shows what is used; raise it and install again`,
    graceMs: 0,
  };
}

function schedulingCause(pod: Pod, events: readonly Event[]): Cause | undefined {
  const scheduled = pod.status?.conditions?.find((condition) => condition.type === 'PodScheduled');
  if (scheduled?.status !== 'False' || scheduled.reason !== 'Unschedulable') return undefined;
  const growing = events.some((event) => NODE_COMES.has(event.reason ?? '') && isAbout(event, pod));
  return {
    code: 'UNSCHEDULABLE',
    message: `no node takes the manager's pod: ${quote(scheduled.message)}`,
    hint: 'kubectl describe nodes shows taints and what is free; it needs 50m CPU and 96Mi on a Linux node',
    graceMs: growing ? NODE_GRACE_MS : SOME_GRACE_MS,
  };
}

/** Events by which cluster-autoscaler and Karpenter say that they are adding a node for the pod. */
const NODE_COMES = new Set(['TriggeredScaleUp', 'Nominated']);

function containerCause(pod: Pod): Cause | undefined {
  const status = statusOf(pod);
  const waiting = status?.state?.waiting;
  if (waiting?.reason === undefined) return undefined;
  switch (waiting.reason) {
    case 'ErrImageNeverPull':
    case 'InvalidImageName':
    case 'ImagePullBackOff':
    case 'ErrImagePull':
      return imageCause(pod, waiting.reason, waiting.message);
    case 'CreateContainerConfigError':
    case 'CreateContainerError':
    case 'RunContainerError':
      return startCause(waiting.message ?? waiting.reason);
    case 'CrashLoopBackOff':
      return crashCause(pod, status);
    default:
      return undefined;
  }
}

function imageCause(pod: Pod, reason: string, said: string | undefined): Cause {
  const image = pod.spec?.containers[0]?.image ?? '';
  const node = pod.spec?.nodeName ?? '';
  const never = reason === 'ErrImageNeverPull';
  return {
    code: 'IMAGE_PULL_FAILED',
    message: `node "${node}" cannot get the image "${image}": ${quote(said ?? reason)}`,
    hint: never
      ? `load the image onto node "${node}", then install again`
      : 'push the image where the nodes can pull it and name it: cz install --image REGISTRY/cz-manager:TAG',
    graceMs: reason === 'ErrImagePull' ? SOME_GRACE_MS : 0, // the first attempt may fail by chance; the back-off follows at once
  };
}

function startCause(said: string): Cause {
  const tun = /\/dev\/net\/tun|mknod/.test(said);
  return {
    code: tun ? 'TUN_REFUSED' : 'CONTAINER_FAILED',
    message: `the container runtime cannot start the manager: ${quote(said)}`,
    hint: tun ? TUN_HINT : 'the runtime of that node says why; its log knows more',
    graceMs: 0,
  };
}

/** Facts: opencontainers/runc release notes of 1.2.0 (device rule removed) and 1.2.4 (restored). */
const TUN_HINT =
  'runc 1.2.0 to 1.2.3 and crun refuse /dev/net/tun to containers: update runc to 1.2.4 or newer, or allow the device in the runtime (CRI-O: allowed_devices)';

function crashCause(pod: Pod, status: ContainerStatus | undefined): Cause {
  const ended = status?.lastState?.terminated ?? status?.state?.terminated;
  const how =
    ended?.reason === 'OOMKilled'
      ? 'was killed for lack of memory'
      : `ended with exit code ${ended?.exitCode ?? '?'}`;
  return {
    code: 'POD_CRASHED',
    message: `the manager starts and ends again: it ${how}`,
    hint: `${logsCommand(pod)} shows what it wrote`,
    graceMs: 0,
  };
}

/** Returns the cause made precise by the last line that the manager wrote, and by the node's runtime. */
export function explainCrash(cause: Cause, log: string, runtime: string | undefined): Cause {
  const line = lastLine(log);
  const on = runtime === undefined ? '' : ` (container runtime: ${runtime})`;
  if (cause.code === 'TUN_REFUSED') return { ...cause, message: cause.message + on };
  if (/TUN/.test(line.code) || /\/dev\/net\/tun/.test(line.text))
    return { ...cause, code: 'TUN_REFUSED', message: line.text + on, hint: TUN_HINT };
  return line.text === '' ? cause : { ...cause, message: `${cause.message}; its last words: ${line.text}` };
}

/** The manager's log is JSON lines; Node's own last words are not. */
function lastLine(log: string): { readonly text: string; readonly code: string } {
  const line = log.trimEnd().split('\n').at(-1) ?? '';
  try {
    const entry: unknown = JSON.parse(line);
    const [message, code, error] = ['message', 'code', 'error'].map((key) => memberOf(entry, key));
    const said = [message, memberOf(error, 'message')].filter((text) => typeof text === 'string');
    return { text: quote(said.join(': ')), code: typeof code === 'string' ? code : '' };
  } catch {
    return { text: quote(line), code: '' };
  }
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}

/** What only events tell: no volume, no network for the pod, a probe that fails. */
function eventCause({ pod, events }: PodState): Cause | undefined {
  const warning = events.findLast((event) => isAbout(event, pod)); // a later normal event: it went on
  if (warning?.type !== 'Warning' || warning.reason === 'FailedScheduling') return undefined;
  const probe = warning.reason === 'Unhealthy';
  return {
    code: probe ? 'POD_UNHEALTHY' : 'POD_FAILED',
    message: `the manager's pod does not get ready: ${quote(warning.message)}`,
    hint: probe
      ? 'kubectl logs shows what the manager is doing'
      : 'kubectl describe pod shows the whole story',
    graceMs: probe ? PROBE_GRACE_MS : SOME_GRACE_MS,
  };
}

function logsCommand(pod: Pod | undefined): string {
  return `kubectl -n ${namespaceOf(pod)} logs ${pod?.metadata?.name}`;
}

function namespaceOf(pod: Pod | undefined): string {
  return pod?.metadata?.namespace ?? '';
}

function statusOf(pod: Pod): ContainerStatus | undefined {
  return pod.status?.containerStatuses?.[0];
}

function isAbout(event: Event, object: Pod | StatefulSet | undefined): boolean {
  return object?.metadata?.uid !== undefined && event.involvedObject.uid === object.metadata.uid;
}

function quote(text: string | undefined): string {
  const printable = (text ?? '').replace(/[\p{C}\s]+/gu, ' ').trim();
  return printable.length > QUOTE_LIMIT ? `${printable.slice(0, QUOTE_LIMIT)}…` : printable;
}
