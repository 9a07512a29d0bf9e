/**
 * `cz uninstall`: ends every session, then removes all that an install of any version made, found by its label, and
 * waits until it is gone. Doing it twice is fine; a namespace that stood before cz is emptied of cz and stays.
 */
import { CzError } from '../base/errors.js';
import type { KubeApi } from '../kube/api.js';
import { ADOPTED_ANNOTATION, FIELD_MANAGER } from './identity.js';
import type { Manifest } from './manifests.js';
import {
  ALL_SESSIONS,
  INSTALL_SELECTOR,
  collectionPath,
  findInstalled,
  listObjects,
  memberPath,
  nameOf,
  objectPath,
  unlessMissing,
} from './resources.js';

export interface UninstallRequest {
  /** Gets progress, a line a step. */
  readonly report: (line: string) => void;
  /** For everything to be gone; default 90 000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface UninstallResult {
  readonly sessions: number;
  /** Objects removed, for people. */
  readonly removed: readonly string[];
}

/** A namespace empties within seconds; the pod's own grace is 15 s (our choice). */
const GONE_TIMEOUT_MS = 90_000;

/** Kinds whose removal takes a while: they are waited for. */
const SLOW_KINDS = new Set(['StatefulSet', 'Pod', 'CustomResourceDefinition', 'Namespace']);

/**
 * Removes everything and returns what it was; nothing there: an empty list.
 * @throws NOT_PERMITTED · UNINSTALL_STUCK naming what does not go · INTERRUPTED
 */
export async function uninstallManager(api: KubeApi, request: UninstallRequest): Promise<UninstallResult> {
  const { report, signal } = request;
  const sessions = await endSessions(api, report, signal);
  const found = await findInstalled(api, signal);
  const leaving = found.filter((object) => !isAdopted(object));
  const removed: string[] = [];
  for (const object of leaving) {
    if (object.kind === 'Pod') continue; // goes with its owner, gracefully
    report(`removing ${nameOf(object)}`);
    await unlessMissing(api.remove(objectPath(object), { propagation: 'Background' }));
    removed.push(nameOf(object));
  }
  for (const object of found.filter(isAdopted)) await release(api, object);
  await waitGone(api, leaving, request);
  return { sessions, removed };
}

async function endSessions(
  api: KubeApi,
  report: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<number> {
  const sessions = await listObjects(api, ALL_SESSIONS, undefined, signal);
  if (sessions.length > 0) report(`ending ${sessions.length} session${sessions.length === 1 ? '' : 's'}`);
  for (const session of sessions)
    await unlessMissing(api.remove(memberPath(ALL_SESSIONS, session.metadata ?? {})));
  return sessions.length;
}

function isAdopted(object: Manifest): boolean {
  return object.kind === 'Namespace' && hasAdopted(object);
}

function hasAdopted(object: Manifest): boolean {
  return object.metadata?.annotations?.[ADOPTED_ANNOTATION] !== undefined;
}

/** An apply without fields gives up all that an earlier one of the same field manager set. */
async function release(api: KubeApi, { metadata, kind = '' }: Manifest): Promise<void> {
  const bare = { apiVersion: 'v1', kind, metadata: { name: metadata?.name ?? '' } };
  await unlessMissing(
    api.patch(objectPath(bare), bare, 'apply', { fieldManager: FIELD_MANAGER, force: true }),
  );
}

async function waitGone(
  api: KubeApi,
  leaving: readonly Manifest[],
  { report, signal, timeoutMs = GONE_TIMEOUT_MS }: UninstallRequest,
): Promise<void> {
  const slow = leaving.filter(({ kind = '' }) => SLOW_KINDS.has(kind));
  if (slow.length === 0) return;
  report('waiting until all of it is gone');
  const late = AbortSignal.timeout(timeoutMs);
  const ends = signal === undefined ? late : AbortSignal.any([late, signal]);
  const kinds = new Set(slow.map(({ kind = '' }) => kind));
  await Promise.all([...kinds].map((kind) => kindGone(api, kind, ends)));
}

/** Resolves when no object of this kind carries the label of an install any more, an adopted namespace aside. */
function kindGone(api: KubeApi, kind: string, ends: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let left: readonly Manifest[] = [];
    const watch = api.watch<Manifest>(collectionPath(kind), {
      labelSelector: INSTALL_SELECTOR,
      onChange: (objects) => {
        left = [...objects.values()].filter((object) => kind !== 'Namespace' || !hasAdopted(object));
        if (left.length === 0) end(resolve);
      },
      onError: (error) => (LASTING.has(error.code) ? end(() => reject(error)) : undefined),
    });
    const expired = () => end(() => reject(stuck(kind, left, ends)));
    const end = (settle: () => void) => {
      ends.removeEventListener('abort', expired);
      watch.close();
      settle();
    };
    if (ends.aborted) expired();
    else ends.addEventListener('abort', expired, { once: true });
  });
}

const LASTING = new Set(['NOT_PERMITTED', 'CREDENTIAL_EXPIRED']);

function stuck(kind: string, left: readonly Manifest[], ends: AbortSignal): CzError {
  const timedOut = ends.reason instanceof DOMException && ends.reason.name === 'TimeoutError';
  if (!timedOut) return new CzError('INTERRUPTED', 'waiting for the removal was interrupted');
  const object: Manifest = { ...left[0], kind };
  const namespaced = object.metadata?.namespace === undefined ? '' : `-n ${object.metadata.namespace} `;
  return new CzError('UNINSTALL_STUCK', `${nameOf(object)} does not go away`, {
    hint: `kubectl ${namespaced}get ${kind.toLowerCase()} ${object.metadata?.name} -o yaml: its status or finalizers say why`,
  });
}
