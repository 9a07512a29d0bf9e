/**
 * Where objects live in the Kubernetes API: kind to path, and the kinds among which an install, of any version, is
 * looked for.
 */
import { CzError, hasCode } from '../base/errors.js';
import type { KubeApi } from '../kube/api.js';
import { apiPath } from '../kube/path.js';
import { GROUP, GROUP_VERSION, INSTALL_LABEL, INSTALL_LABEL_VALUE } from './identity.js';
import type { Manifest } from './manifests.js';

/** Picks the objects of an install. */
export const INSTALL_SELECTOR = `${INSTALL_LABEL}=${INSTALL_LABEL_VALUE}`;

/** Paths of collections by kind; in the order in which uninstall removes them: first what acts, last what is needed. */
const COLLECTIONS: Readonly<Record<string, string>> = {
  StatefulSet: '/apis/apps/v1/statefulsets',
  Deployment: '/apis/apps/v1/deployments',
  DaemonSet: '/apis/apps/v1/daemonsets',
  Job: '/apis/batch/v1/jobs',
  Pod: '/api/v1/pods',
  ValidatingAdmissionPolicyBinding: '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings',
  ValidatingAdmissionPolicy: '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies',
  CustomResourceDefinition: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
  Service: '/api/v1/services',
  ConfigMap: '/api/v1/configmaps',
  NetworkPolicy: '/apis/networking.k8s.io/v1/networkpolicies',
  PodDisruptionBudget: '/apis/policy/v1/poddisruptionbudgets',
  Lease: '/apis/coordination.k8s.io/v1/leases',
  RoleBinding: '/apis/rbac.authorization.k8s.io/v1/rolebindings',
  Role: '/apis/rbac.authorization.k8s.io/v1/roles',
  ClusterRoleBinding: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
  ClusterRole: '/apis/rbac.authorization.k8s.io/v1/clusterroles',
  ServiceAccount: '/api/v1/serviceaccounts',
  PriorityClass: '/apis/scheduling.k8s.io/v1/priorityclasses',
  Namespace: '/api/v1/namespaces',
};

const KINDS: readonly string[] = Object.keys(COLLECTIONS);

/** All Sessions of the cluster. */
export const ALL_SESSIONS = `/apis/${GROUP}/${GROUP_VERSION}/sessions`;

/** Returns the path of all objects of a kind, or of those in one namespace. @throws PATH_INVALID an unknown kind */
export function collectionPath(kind: string, namespace?: string): string {
  const path = COLLECTIONS[kind];
  if (path === undefined) throw new CzError('PATH_INVALID', `no path is known for the kind "${kind}"`);
  return namespace === undefined ? path : within(path, namespace);
}

/** Returns the path of one object. */
export function objectPath(object: Manifest): string {
  const { name = '', namespace } = object.metadata ?? {};
  return `${collectionPath(object.kind ?? '', namespace)}${apiPath`/${name}`}`;
}

/** Returns the path of an object of a collection that `path` names for all namespaces. */
export function memberPath(
  path: string,
  metadata: { readonly name?: string; readonly namespace?: string },
): string {
  const folder = metadata.namespace === undefined ? path : within(path, metadata.namespace);
  return `${folder}${apiPath`/${metadata.name ?? ''}`}`;
}

function within(path: string, namespace: string): string {
  const cut = path.lastIndexOf('/');
  return `${path.slice(0, cut)}${apiPath`/namespaces/${namespace}`}${path.slice(cut)}`;
}

/** Returns an object for a message: `Role "cz-connect" in namespace "cz-system"`. */
export function nameOf(object: Manifest): string {
  const { name = '', namespace } = object.metadata ?? {};
  return `${object.kind} "${name}"${namespace === undefined ? '' : ` in namespace "${namespace}"`}`;
}

/** Returns the objects at `path` that the selector picks; none where the cluster does not know the resource. */
export async function listObjects<T extends Manifest = Manifest>(
  api: KubeApi,
  path: string,
  labelSelector: string | undefined,
  signal: AbortSignal | undefined,
): Promise<T[]> {
  const options = { query: { labelSelector }, ...(signal === undefined ? {} : { signal }) };
  const list = await unlessMissing(api.get<{ items?: T[] }>(path, options));
  return list?.items ?? [];
}

/** Returns every object that carries the label of an install, in the order of removal. */
export async function findInstalled(api: KubeApi, signal?: AbortSignal): Promise<Manifest[]> {
  const lists = await Promise.all(
    KINDS.map(async (kind) => {
      const found = await listObjects(api, collectionPath(kind), INSTALL_SELECTOR, signal);
      return found.map((object) => Object.assign(object, { kind })); // items of a list carry no kind
    }),
  );
  return lists.flat();
}

/** Returns what is asked for, or undefined when there is no such thing. */
export async function unlessMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}
