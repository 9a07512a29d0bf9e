/**
 * The manager's pod and what it stands on: namespace, priority, headless Service, StatefulSet. Every privilege has its
 * reason beside it. Pure.
 */
import type {
  Container,
  EnvVar,
  Namespace,
  PodSpec,
  Probe,
  SecurityContext,
  Service,
} from 'kubernetes-types/core/v1.js';
import type { StatefulSet } from 'kubernetes-types/apps/v1.js';
import type { PriorityClass } from 'kubernetes-types/scheduling/v1.js';
import {
  ADOPTED_ANNOTATION,
  MANAGER,
  MANAGER_PORT,
  POD_LABELS,
  REPLICAS,
  SETTINGS_ANNOTATION,
  labelsOf,
} from './identity.js';
import { because, explain } from './reasons.js';
import { formatSettings, type Settings } from './settings.js';

/** The kubelet gives the manager this long to tell its sessions; it needs a second or two (our choice). */
const STOP_SECONDS = 15;
/** Above ordinary pods (0), far below the system's (2 000 000 000; PriorityClass's own range ends at 10^9). */
const PRIORITY = 1_000_000;

/** Returns the namespace; `adopted`: it stood before cz, and uninstall leaves it. */
export function namespaceObject(name: string, version: string, adopted: boolean): Namespace {
  const annotations = adopted ? { annotations: { [ADOPTED_ANNOTATION]: 'true' } } : {};
  const labels = explain(
    {
      ...labelsOf(version),
      'pod-security.kubernetes.io/enforce': 'privileged',
      'pod-security.kubernetes.io/audit': 'privileged',
      'pod-security.kubernetes.io/warn': 'privileged',
    },
    {
      'pod-security.kubernetes.io/enforce':
        'The stricter levels of PodSecurity forbid NET_ADMIN, which NAT in the pod’s own network namespace needs.',
    },
  );
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels, ...annotations } };
}

/** Returns the manager's own priority class: `system-cluster-critical` is shut by quota on some clouds. */
export function priorityObject(version: string): PriorityClass {
  return explain(
    {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name: MANAGER, labels: labelsOf(version) },
      value: PRIORITY,
      preemptionPolicy: 'Never',
      globalDefault: false,
      description: 'Traffic manager of cz: evicted after ordinary pods, and evicts none itself.',
    },
    {
      value: 'A node short of memory evicts others first: every laptop’s session hangs on this pod.',
      preemptionPolicy: 'No workload has to leave for it.',
    },
  );
}

/** Returns the headless Service that a StatefulSet must name. */
export function serviceObject(namespace: string, version: string): Service {
  return because(
    'A StatefulSet needs it for its pods’ names. Laptops come by the API server’s pod proxy, not by this.',
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: MANAGER, namespace, labels: labelsOf(version) },
      spec: {
        clusterIP: 'None',
        selector: POD_LABELS,
        ports: [{ name: 'tunnel', port: MANAGER_PORT, targetPort: MANAGER_PORT, protocol: 'TCP' }],
      },
    },
  );
}

/** Returns the StatefulSet: a stable pod name can stand in `resourceNames` of a role. */
export function statefulSetObject(namespace: string, settings: Settings, version: string): StatefulSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: {
      name: MANAGER,
      namespace,
      labels: labelsOf(version),
      annotations: { [SETTINGS_ANNOTATION]: formatSettings(settings) },
    },
    spec: explain(
      {
        replicas: REPLICAS,
        serviceName: MANAGER,
        podManagementPolicy: 'Parallel',
        selector: { matchLabels: POD_LABELS },
        template: {
          metadata: { labels: POD_LABELS, annotations: podAnnotations() },
          spec: podSpec(settings),
        },
      },
      { podManagementPolicy: 'A pod that never got ready does not block its own replacement.' },
    ),
  };
}

function podAnnotations(): Record<string, string> {
  return explain(
    { 'io.kubernetes.cri-o.Devices': '/dev/net/tun' },
    { 'io.kubernetes.cri-o.Devices': 'CRI-O hands out the TUN device by this, where crun would refuse it.' },
  );
}

function podSpec(settings: Settings): PodSpec {
  return explain(
    {
      serviceAccountName: MANAGER,
      automountServiceAccountToken: true,
      enableServiceLinks: false,
      priorityClassName: MANAGER,
      terminationGracePeriodSeconds: STOP_SECONDS,
      nodeSelector: { 'kubernetes.io/os': 'linux' },
      tolerations: ['not-ready', 'unreachable'].map((state) => ({
        key: `node.kubernetes.io/${state}`,
        operator: 'Exists',
        effect: 'NoExecute',
        tolerationSeconds: 30,
      })),
      securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
      containers: [container(settings)],
    },
    {
      enableServiceLinks: 'No variable per Service in the environment: it reads none.',
      tolerations: 'A node that is gone: the pod moves after 30 s, not after the usual 300 s.',
      automountServiceAccountToken: 'It watches Sessions and the cluster’s networks.',
    },
  );
}

function container(settings: Settings): Container {
  return {
    name: 'manager',
    image: settings.image,
    imagePullPolicy: 'IfNotPresent',
    ports: [
      because('Private clusters let their API server reach pods on 443 and 10250 only.', {
        name: 'tunnel',
        containerPort: MANAGER_PORT,
        protocol: 'TCP',
      }),
    ],
    env: environment(settings),
    securityContext: containerSecurity(),
    ...probes(),
    resources: explain(
      {
        requests: { cpu: '50m', memory: '96Mi' },
        limits: { memory: '512Mi' },
      },
      { limits: 'No limit on CPU: throttling would show as latency in every laptop’s connections.' },
    ),
  };
}

function containerSecurity(): SecurityContext {
  return explain(
    {
      runAsUser: 0,
      runAsGroup: 0,
      runAsNonRoot: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: capabilities() },
    },
    { runAsUser: 'Kubernetes has no ambient capabilities: those below reach user 0 only.' },
  );
}

function capabilities(): string[] {
  return explain(['NET_ADMIN', 'MKNOD', 'NET_BIND_SERVICE'], {
    0: 'A TUN interface per session, routes and nftables: in the pod’s own network namespace.',
    1: 'Makes /dev/net/tun inside the container, where the runtime gives none.',
    2: 'Listens on port 443. (The sysctl ip_unprivileged_port_start would do as well, but not on every runtime.)',
  });
}

function environment(settings: Settings): EnvVar[] {
  const fields: EnvVar[] = [
    field('POD_NAME', 'metadata.name'),
    field('POD_NAMESPACE', 'metadata.namespace'),
    field('POD_IP', 'status.podIP'),
    field('NODE_NAME', 'spec.nodeName'),
    field('HOST_IP', 'status.hostIP'),
  ];
  return [
    ...fields,
    because('Networks outside the cluster that laptops may ask for with --also-route.', {
      name: 'CZ_ALSO_ROUTE',
      value: settings.alsoRoute.join(','),
    }),
    because('Whether packets to node addresses are forwarded.', {
      name: 'CZ_NODE_ADDRESSES',
      value: settings.nodeAddresses ? 'allowed' : 'forbidden',
    }),
    because('The namespaces that it looks into; empty: all.', {
      name: 'CZ_NAMESPACES',
      value: settings.onlyNamespaces.join(','),
    }),
  ];
}

function field(name: string, fieldPath: string): EnvVar {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

function probes(): { startupProbe: Probe; readinessProbe: Probe; livenessProbe: Probe } {
  const httpGet = { path: '/healthz', port: MANAGER_PORT, scheme: 'HTTP' };
  return {
    startupProbe: because('Looks each second, so that an install need not wait for the slower beat below.', {
      httpGet,
      periodSeconds: 1,
      failureThreshold: 60,
    }),
    readinessProbe: { httpGet, periodSeconds: 5, failureThreshold: 2, timeoutSeconds: 3 },
    livenessProbe: because('Slow and patient: a restart cuts every session.', {
      httpGet,
      periodSeconds: 10,
      failureThreshold: 6,
      timeoutSeconds: 5,
    }),
  };
}
