/**
 * The names by which everything in the cluster knows the manager: objects, labels, annotations, the port. One place,
 * so that roles, policies and the daemon agree. Pure.
 */

/** API group and version of the project's custom resources. */
export const GROUP = 'cz.dev';
export const GROUP_VERSION = 'v1';

/** Name of the StatefulSet, its Service, its account and its cluster-wide roles; pods are `cz-manager-0` and on. */
export const MANAGER = 'cz-manager';

/** Manager pods (one for now; a second one takes over in a later version). */
export const REPLICAS = 1;

/** Private clusters let their API server reach pods on 443 and 10250 only. */
export const MANAGER_PORT = 443;

/** Who the API server says wrote a field, in server-side apply. */
export const FIELD_MANAGER = 'cz';

/** The label that every object of an install carries; uninstall finds what any version made by it. */
export const INSTALL_LABEL = 'cz.dev/install';
export const INSTALL_LABEL_VALUE = 'manager';

/** On the StatefulSet: the settings as JSON, kept over upgrades. */
export const SETTINGS_ANNOTATION = 'cz.dev/settings';

/** On the namespace: it was there before cz, so uninstall empties it of cz and lets it stand. */
export const ADOPTED_ANNOTATION = 'cz.dev/adopted';

/** On each object, the version that applied it (a recommended label of Kubernetes). */
export const VERSION_LABEL = 'app.kubernetes.io/version';

/** Labels by which the StatefulSet and its Service select pods; they can never change. */
export const POD_LABELS = {
  'app.kubernetes.io/name': MANAGER,
  [INSTALL_LABEL]: INSTALL_LABEL_VALUE,
} as const;

/** Returns the labels of every object of an install. */
export function labelsOf(version: string): Record<string, string> {
  return {
    'app.kubernetes.io/name': MANAGER,
    'app.kubernetes.io/managed-by': 'cz',
    [VERSION_LABEL]: version,
    [INSTALL_LABEL]: INSTALL_LABEL_VALUE,
  };
}

/** Returns the manager's user name as the API server sees it. */
export function managerAccount(namespace: string): string {
  return `system:serviceaccount:${namespace}:${MANAGER}`;
}

/** Returns the names of the manager's pods. */
export function managerPods(): string[] {
  return Array.from({ length: REPLICAS }, (_, ordinal) => `${MANAGER}-${ordinal}`);
}
