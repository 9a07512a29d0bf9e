/**
 * A node: containerd, kubelet and kube-proxy in a network and mount namespace of their own, pods on a bridge with the
 * node's /24. Pods keep their addresses between nodes: nothing is masqueraded but what kube-proxy must.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { access } from 'node:fs/promises';
import { addCgroup } from './cgroups.js';
import { pki } from './certificates.js';
import { holdNode } from './holder.js';
import type { Place } from './namespaces.js';
import { nodeNamespace } from './network.js';
import { background, runProgram } from './processes.js';
import {
  CLUSTER_DNS_ADDRESS,
  CLUSTER_DOMAIN,
  inCluster,
  NETWORKS,
  WORKLOAD_IMAGE,
  type NodeSettings,
  type ProxyMode,
} from './settings.js';
import { until } from './until.js';

const CONTAINERD_TIMEOUT_MS = 30_000;
const IMPORT_TIMEOUT_MS = 120_000;

/** A running node's name and place. */
export interface NodePlace {
  readonly name: string;
  readonly place: Place;
}

/** Starts a node's containerd and imports the image files into it; the kubelet comes later. */
export async function startContainerd(node: NodeSettings, images: readonly string[]): Promise<NodePlace> {
  const net = nodeNamespace(node);
  await addCgroup(net);
  await writeConfiguration(node);
  const running = { name: node.name, place: { net, holder: await holdNode(net) } };
  await background(`containerd-${node.name}`, running.place, [
    'containerd',
    '--config',
    file(node, 'containerd.toml'),
  ]);
  await until('an answering containerd', () => answers(node), { timeoutMs: CONTAINERD_TIMEOUT_MS });
  for (const image of images) await importImage(node.name, image);
  return running;
}

/** Starts a node's kubelet and kube-proxy; both may start before the API server answers. */
export async function startKubelet({ name, place }: NodePlace, node: NodeSettings): Promise<void> {
  await background(`kubelet-${name}`, place, ['kubelet', ...kubeletFlags(node)]);
  await background(`kube-proxy-${name}`, place, ['kube-proxy', '--config', file(node, 'proxy.json')]);
}

/** Imports a docker-archive into a node's containerd, where pods find it. */
export async function importImage(node: string, archive: string): Promise<void> {
  const address = inCluster(node, 'containerd.sock');
  await runProgram(
    ['ctr', '--address', address, '-n', 'k8s.io', 'image', 'import', archive],
    IMPORT_TIMEOUT_MS,
  );
}

async function answers(node: NodeSettings): Promise<boolean> {
  await access(file(node, 'containerd.sock'));
  await runProgram(['ctr', '--address', file(node, 'containerd.sock'), 'version']);
  return true;
}

async function writeConfiguration(node: NodeSettings): Promise<void> {
  await mkdir(file(node, 'cni'), { recursive: true });
  await writeFile(file(node, 'cni/10-bridge.conflist'), JSON.stringify(cni(node), null, 2));
  await writeFile(file(node, 'containerd.toml'), containerdToml(node));
  await writeFile(file(node, 'kubelet.json'), JSON.stringify(kubelet(node), null, 2));
}

function file(node: NodeSettings, name: string): string {
  return inCluster(node.name, name);
}

/** `restrict_oom_score_adj`: without CAP_SYS_RESOURCE nobody may lower a process's score below their own. */
function containerdToml(node: NodeSettings): string {
  return `version = 3
root = "${file(node, 'containerd')}"
state = "${file(node, 'containerd-state')}"
[grpc]
address = "${file(node, 'containerd.sock')}"
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "${WORKLOAD_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "${file(node, 'cni')}"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
`;
}

function cni(node: NodeSettings): unknown {
  const ranges = [[{ subnet: node.podCidr }]];
  return {
    cniVersion: '1.0.0',
    name: `cz-${node.name}`,
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        ipam: { type: 'host-local', ranges, routes: [{ dst: '0.0.0.0/0' }] },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}

function kubelet(node: NodeSettings): unknown {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: node.address,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: pki('ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: pki(`kubelet-${node.name}.crt`),
    tlsPrivateKeyFile: pki(`kubelet-${node.name}.key`),
    containerRuntimeEndpoint: `unix://${file(node, 'containerd.sock')}`,
    clusterDNS: [CLUSTER_DNS_ADDRESS],
    clusterDomain: CLUSTER_DOMAIN,
    resolvConf: '/dev/null',
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${nodeNamespace(node)}`,
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: [],
    evictionHard: { 'nodefs.available': '1%', 'imagefs.available': '1%' },
    imageGCHighThresholdPercent: 100,
    oomScoreAdj: 0,
    podLogsDir: file(node, 'pod-logs'),
    registerNode: true,
  };
}

function kubeletFlags(node: NodeSettings): string[] {
  return [
    `--config=${file(node, 'kubelet.json')}`,
    `--kubeconfig=${pki(`${node.name}.kubeconfig`)}`,
    `--root-dir=${file(node, 'kubelet')}`,
    `--hostname-override=${node.name}`,
    `--node-ip=${node.address}`,
  ];
}

/** Writes kube-proxy's configuration. Conntrack's machine-wide limits are left alone (0). */
export async function writeProxyConfiguration(node: NodeSettings, mode: ProxyMode): Promise<void> {
  const configuration = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode,
    hostnameOverride: node.name,
    bindAddress: node.address,
    clusterCIDR: NETWORKS.pods,
    clientConnection: { kubeconfig: pki('proxy.kubeconfig') },
    conntrack: { maxPerCore: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    oomScoreAdj: 0,
  };
  await mkdir(inCluster(node.name), { recursive: true });
  await writeFile(file(node, 'proxy.json'), JSON.stringify(configuration, null, 2));
}
