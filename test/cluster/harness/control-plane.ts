/** etcd, the API server, the controller manager and the scheduler, in the control plane's namespace. */
import { pki } from './certificates.js';
import { kubectl } from './kubectl.js';
import { background, isRunning, logTail, startProcess } from './processes.js';
import { API_PORT, CLUSTER_DOMAIN, CONTROL, CONTROL_ADDRESS, inCluster, NETWORKS } from './settings.js';
import { until } from './until.js';
import { CzError } from '../../../src/base/errors.js';

const READY_TIMEOUT_MS = 60_000;

/** Starts etcd and the API server; returns at once. */
export async function startApiServer(): Promise<void> {
  await background('etcd', { net: CONTROL }, ['etcd', ...etcdFlags()]);
  await background('apiserver', { net: CONTROL }, ['kube-apiserver', ...apiServerFlags()]);
}

/** Starts the controller manager and the scheduler; they may start before the API server answers. */
export async function startControllers(): Promise<void> {
  await background('controller-manager', { net: CONTROL }, ['kube-controller-manager', ...controllerFlags()]);
  await background('scheduler', { net: CONTROL }, ['kube-scheduler', ...schedulerFlags()]);
}

/** Returns when the API server answers that it is ready. @throws TIMED_OUT · PROGRAM_ENDED with the end of its log */
export async function apiServerReady(): Promise<void> {
  await until(
    'an answering API server',
    async () => {
      if (!(await isRunning('apiserver'))) return 'ended';
      return (await kubectl(['get', '--raw', '/readyz'])).trim() === 'ok' ? 'ready' : false;
    },
    { timeoutMs: READY_TIMEOUT_MS },
  ).then(async (outcome) => {
    if (outcome === 'ended')
      throw new CzError('PROGRAM_ENDED', `the API server ended: ${await logTail('apiserver')}`);
  });
}

/** Starts a program of the cluster again, with its flags; the API server answers when this returns. */
export async function startProgram(name: string): Promise<void> {
  await startProcess(name);
  if (name === 'apiserver') await apiServerReady();
}

function etcdFlags(): string[] {
  return [
    `--data-dir=${inCluster('etcd')}`,
    '--listen-client-urls=http://127.0.0.1:2379',
    '--advertise-client-urls=http://127.0.0.1:2379',
    '--listen-peer-urls=http://127.0.0.1:2380',
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

function apiServerFlags(): string[] {
  return [
    `--advertise-address=${CONTROL_ADDRESS}`,
    `--secure-port=${API_PORT}`,
    '--etcd-servers=http://127.0.0.1:2379',
    `--service-cluster-ip-range=${NETWORKS.services}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    '--enable-aggregator-routing=true', // no kube-proxy runs beside it, so ClusterIPs lead nowhere from here
    `--client-ca-file=${pki('ca.crt')}`,
    `--tls-cert-file=${pki('apiserver.crt')}`,
    `--tls-private-key-file=${pki('apiserver.key')}`,
    `--kubelet-client-certificate=${pki('apiserver-kubelet.crt')}`,
    `--kubelet-client-key=${pki('apiserver-kubelet.key')}`,
    `--kubelet-certificate-authority=${pki('ca.crt')}`,
    '--kubelet-preferred-address-types=InternalIP',
    `--service-account-issuer=https://kubernetes.default.svc.${CLUSTER_DOMAIN}`,
    `--service-account-key-file=${pki('service-accounts.pub')}`,
    `--service-account-signing-key-file=${pki('service-accounts.key')}`,
    `--requestheader-client-ca-file=${pki('front-proxy-ca.crt')}`,
    '--requestheader-allowed-names=front-proxy-client',
    '--requestheader-username-headers=X-Remote-User',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    `--proxy-client-cert-file=${pki('front-proxy.crt')}`,
    `--proxy-client-key-file=${pki('front-proxy.key')}`,
  ];
}

function controllerFlags(): string[] {
  return [
    ...credentials('controller-manager'),
    '--bind-address=127.0.0.1',
    '--allocate-node-cidrs=true',
    `--cluster-cidr=${NETWORKS.pods}`,
    `--service-cluster-ip-range=${NETWORKS.services}`,
    '--use-service-account-credentials=true',
    `--root-ca-file=${pki('ca.crt')}`,
    `--service-account-private-key-file=${pki('service-accounts.key')}`,
    `--cluster-signing-cert-file=${pki('ca.crt')}`,
    `--cluster-signing-key-file=${pki('ca.key')}`,
    '--leader-elect=false',
  ];
}

function schedulerFlags(): string[] {
  return [...credentials('scheduler'), '--bind-address=127.0.0.1', '--leader-elect=false'];
}

function credentials(file: string): string[] {
  return ['', 'authentication-', 'authorization-'].map(
    (use) => `--${use}kubeconfig=${pki(`${file}.kubeconfig`)}`,
  );
}
