/**
 * What is in the cluster before an install: which version, with which settings, in which namespace, and whether the
 * cluster can take a manager at all. Reads only.
 */
import type { StatefulSet } from 'kubernetes-types/apps/v1.js';
import type { Namespace } from 'kubernetes-types/core/v1.js';
import type { ClusterRoleBinding } from 'kubernetes-types/rbac/v1.js';
import { CzError } from '../base/errors.js';
import type { KubeApi } from '../kube/api.js';
import { apiPath } from '../kube/path.js';
import { ADOPTED_ANNOTATION, MANAGER, SETTINGS_ANNOTATION, VERSION_LABEL } from './identity.js';
import { isLabelled } from './manifests.js';
import { collectionPath, unlessMissing } from './resources.js';
import { parseSettings, type Former } from './settings.js';

/** ValidatingAdmissionPolicy is stable since Kubernetes 1.30. */
const LEAST_MINOR = 30;

/** The cluster before an install. */
export interface Existing {
  readonly former: Former | undefined;
  /** The namespace stood before cz, or is one that cz must never remove. */
  readonly adopted: boolean;
}

/**
 * Returns what is there.
 * @throws CLUSTER_TOO_OLD before Kubernetes 1.30 · CONFLICT a manager lives in another namespace, or this one is on its way out
 */
export async function findExisting(api: KubeApi, namespace: string, signal?: AbortSignal): Promise<Existing> {
  const options = signal === undefined ? {} : { signal };
  const get = <T>(path: string) => unlessMissing(api.get<T>(path, options));
  const [version, space, binding, set] = await Promise.all([
    api.get<{ major?: string; minor?: string }>('/version', options),
    get<Namespace>(apiPath`/api/v1/namespaces/${namespace}`),
    get<ClusterRoleBinding>(`${collectionPath('ClusterRoleBinding')}/${MANAGER}`),
    get<StatefulSet>(`${collectionPath('StatefulSet', namespace)}/${MANAGER}`),
  ]);
  checkVersion(version);
  checkStanding(space, namespace);
  checkPlace(binding, namespace);
  checkOwner(set, namespace);
  return { former: set === undefined ? undefined : formerOf(set), adopted: isAdopted(space) };
}

function checkVersion({ major = '', minor = '' }: { major?: string; minor?: string }): void {
  const number = Number.parseInt(minor, 10); // some providers write "30+"
  if (major !== '1' || number >= LEAST_MINOR) return;
  throw new CzError('CLUSTER_TOO_OLD', `the cluster runs Kubernetes ${major}.${minor}`, {
    hint: `1.${LEAST_MINOR} or newer is needed: its admission policies hold each Session to its true creator`,
  });
}

function checkStanding(space: Namespace | undefined, namespace: string): void {
  if (space?.metadata?.deletionTimestamp === undefined) return;
  throw new CzError('CONFLICT', `namespace "${namespace}" is being removed`, {
    hint: `install again when it is gone: kubectl wait --for=delete namespace/${namespace}`,
  });
}

function checkPlace(binding: ClusterRoleBinding | undefined, namespace: string): void {
  const place = binding?.subjects?.[0]?.namespace;
  if (place === undefined || place === namespace) return;
  throw new CzError('CONFLICT', `a manager is installed already, in namespace "${place}"`, {
    hint: `cz install --manager-namespace ${place} upgrades it; cz uninstall removes it`,
  });
}

function checkOwner(set: StatefulSet | undefined, namespace: string): void {
  if (set === undefined || isLabelled(set)) return;
  throw new CzError('CONFLICT', `namespace "${namespace}" has a StatefulSet "${MANAGER}" that is not cz's`, {
    hint: 'choose another namespace: cz install --manager-namespace NAME',
  });
}

function formerOf({ metadata }: StatefulSet): Former {
  const version = metadata?.labels?.[VERSION_LABEL] ?? '';
  return { version, settings: parseSettings(metadata?.annotations?.[SETTINGS_ANNOTATION], version) };
}

function isAdopted(space: Namespace | undefined): boolean {
  if (space === undefined) return false;
  return !isLabelled(space) || space.metadata?.annotations?.[ADOPTED_ANNOTATION] !== undefined;
}
