/**
 * Who may do what: the manager's account, the people who connect, those who look. Each rule carries its reason, and a
 * test takes each one away and expects the refusal. Pure.
 */
import type { ServiceAccount } from 'kubernetes-types/core/v1.js';
import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  Role,
  RoleBinding,
  Subject,
} from 'kubernetes-types/rbac/v1.js';
import { GROUP, MANAGER, MANAGER_PORT, labelsOf, managerPods } from './identity.js';
import { because } from './reasons.js';
import type { Settings } from './settings.js';

const RBAC = 'rbac.authorization.k8s.io';

/** Name of the Role and RoleBinding of those who may connect. */
export const CONNECT_ROLE = 'cz-connect';
/** Name of the ClusterRole that lets viewers see Sessions. */
export const VIEW_ROLE = 'cz-view';

/** A Role or ClusterRole with its rules, as written here. */
type WithRules<T> = T & { readonly rules: PolicyRule[] };

/** Returns the manager's account. */
export function managerAccountObject(namespace: string, version: string): ServiceAccount {
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: MANAGER, namespace, labels: labelsOf(version) },
    automountServiceAccountToken: false,
  };
}

/** Returns what the manager may do in its own namespace: serve Sessions. */
export function managerRole(namespace: string, version: string): WithRules<Role> {
  return {
    apiVersion: `${RBAC}/v1`,
    kind: 'Role',
    metadata: { name: MANAGER, namespace, labels: labelsOf(version) },
    rules: [
      because('It knows the sessions that it may serve, and ends one whose Session is deleted.', {
        apiGroups: [GROUP],
        resources: ['sessions'],
        verbs: ['list', 'watch'],
      }),
      because('A laptop that disconnects, or stays away too long, leaves no Session behind.', {
        apiGroups: [GROUP],
        resources: ['sessions'],
        verbs: ['delete'],
      }),
      because('It publishes its key, its pod and the state: by these the laptop knows the true manager.', {
        apiGroups: [GROUP],
        resources: ['sessions/status'],
        verbs: ['patch'],
      }),
    ],
  };
}

/** Returns what the manager reads of the cluster as a whole: which networks there are. No Secret, no write. */
export function managerClusterRole(settings: Settings, version: string): WithRules<ClusterRole> {
  const everywhere = settings.onlyNamespaces.length === 0 ? [namespacesRule(), ...networkRules()] : [];
  return {
    apiVersion: `${RBAC}/v1`,
    kind: 'ClusterRole',
    metadata: { name: MANAGER, labels: labelsOf(version) },
    rules: [
      because('Pod networks (podCIDRs), and the node addresses that it must never forward to.', {
        apiGroups: [''],
        resources: ['nodes'],
        verbs: ['list', 'watch'],
      }),
      because('The Services’ networks, where the cluster says them (Kubernetes 1.31 and newer).', {
        apiGroups: ['networking.k8s.io'],
        resources: ['servicecidrs'],
        verbs: ['list', 'watch'],
      }),
      ...everywhere,
    ],
  };
}

function namespacesRule(): PolicyRule {
  return because('Namespace names: the laptop’s resolver tells web.shop from an outside name by them.', {
    apiGroups: [''],
    resources: ['namespaces'],
    verbs: ['list', 'watch'],
  });
}

function networkRules(): PolicyRule[] {
  return [
    because('The Services’ network where no ServiceCIDR object tells it: learnt from cluster IPs.', {
      apiGroups: [''],
      resources: ['services'],
      verbs: ['list', 'watch'],
    }),
    because('Pod networks where nodes carry no podCIDR (many cloud networks): learnt from pod IPs.', {
      apiGroups: [''],
      resources: ['pods'],
      verbs: ['list', 'watch'],
    }),
  ];
}

/** Returns the manager's Role in one namespace of `--only-namespaces`. */
export function managerNamespaceRole(namespace: string, version: string): WithRules<Role> {
  return {
    apiVersion: `${RBAC}/v1`,
    kind: 'Role',
    metadata: { name: `${MANAGER}-networks`, namespace, labels: labelsOf(version) },
    rules: networkRules(),
  };
}

/**
 * Returns what connecting takes, in the manager's namespace alone. No update and no delete: the daemon ends its Session
 * by the websocket.
 */
export function connectRole(namespace: string, version: string): WithRules<Role> {
  return {
    apiVersion: `${RBAC}/v1`,
    kind: 'Role',
    metadata: { name: CONNECT_ROLE, namespace, labels: labelsOf(version) },
    rules: [
      because('A laptop registers under its user’s own name; a policy holds it to that name.', {
        apiGroups: [GROUP],
        resources: ['sessions'],
        verbs: ['create'],
      }),
      because('It reads the manager’s key and pod from its Session, waits for them, sees others at work.', {
        apiGroups: [GROUP],
        resources: ['sessions'],
        verbs: ['get', 'list', 'watch'],
      }),
      because('The tunnel: a websocket to the manager’s pod. The port is part of the name here.', {
        apiGroups: [''],
        resources: ['pods/proxy'],
        resourceNames: managerPods().map((pod) => `${pod}:${MANAGER_PORT}`),
        verbs: ['get'],
      }),
      because(
        'The way by port-forward, where the pod proxy is shut; since Kubernetes 1.35 a websocket needs create.',
        {
          apiGroups: [''],
          resources: ['pods/portforward'],
          resourceNames: managerPods(),
          verbs: ['get', 'create'],
        },
      ),
    ],
  };
}

/** Returns the ClusterRole that adds looking at Sessions to whoever has `view` (and so to edit and admin). */
export function viewRole(version: string): WithRules<ClusterRole> {
  const labels = { ...labelsOf(version), 'rbac.authorization.k8s.io/aggregate-to-view': 'true' };
  return {
    apiVersion: `${RBAC}/v1`,
    kind: 'ClusterRole',
    metadata: { name: VIEW_ROLE, labels },
    rules: [
      because('kubectl get sessions: who is connected. Nothing in a Session is secret.', {
        apiGroups: [GROUP],
        resources: ['sessions'],
        verbs: ['get', 'list', 'watch'],
      }),
    ],
  };
}

/** Returns the binding of a Role of the same namespace to the manager's account. */
export function managerBinding(role: Role, managerNamespace: string, version: string): RoleBinding {
  const { name = '', namespace = '' } = role.metadata ?? {};
  return binding(name, namespace, version, [accountSubject(managerNamespace)]);
}

/** Returns the binding of the manager's ClusterRole. */
export function managerClusterBinding(managerNamespace: string, version: string): ClusterRoleBinding {
  return {
    apiVersion: `${RBAC}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: { name: MANAGER, labels: labelsOf(version) },
    roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name: MANAGER },
    subjects: [accountSubject(managerNamespace)],
  };
}

/** Returns the binding of `cz-connect` to the groups of `--allow-group`; without groups it binds nobody. */
export function connectBinding(namespace: string, settings: Settings, version: string): RoleBinding {
  const groups = settings.allowGroups.map((name): Subject => ({ apiGroup: RBAC, kind: 'Group', name }));
  return binding(CONNECT_ROLE, namespace, version, groups);
}

function binding(name: string, namespace: string, version: string, subjects: Subject[]): RoleBinding {
  return {
    apiVersion: `${RBAC}/v1`,
    kind: 'RoleBinding',
    metadata: { name, namespace, labels: labelsOf(version) },
    roleRef: { apiGroup: RBAC, kind: 'Role', name },
    subjects,
  };
}

function accountSubject(namespace: string): Subject {
  return { kind: 'ServiceAccount', name: MANAGER, namespace };
}
