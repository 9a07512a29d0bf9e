/**
 * Brings the cluster up: programs, certificates and cables first, then everything at once, then the workloads. The order
 * is that of the numbers; what can wait for something else by itself (a kubelet for the API server) is not waited for.
 */
import { mkdir, readdir, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { buildPrograms } from './build.js';
import { makeCertificates } from './certificates.js';
import { apiServerReady, startApiServer, startControllers } from './control-plane.js';
import { clear, leftovers } from './down.js';
import { workloadImage } from './image.js';
import { kubectl } from './kubectl.js';
import { FIRST_LAPTOP, makeFirstLaptop, onLaptop, type Laptop } from './laptop.js';
import { locked } from './lock.js';
import { joinNetwork } from './network.js';
import { namespaces } from './namespaces.js';
import { startContainerd, startKubelet, writeProxyConfiguration } from './node.js';
import { startBeside, startOutsideDns } from './outside.js';
import { installPackages } from './packages.js';
import { readRecord, writeRecord } from './records.js';
import {
  API_URL,
  CLUSTER_DOMAIN,
  CONTROL,
  inCluster,
  NETWORKS,
  NODES,
  OUTSIDE_DNS_ADDRESS,
  VERSIONS,
  type ProxyMode,
} from './settings.js';
import { prepareMachine } from './sysctls.js';
import { say, telling } from './voice.js';
import { applyWorkloads, workloadsReady } from './workloads.js';

/** What `up` prints, and what the suites learn the cluster by. */
export interface ClusterFacts {
  readonly kubeconfig: string;
  readonly server: string;
  readonly versions: typeof VERSIONS;
  readonly networks: typeof NETWORKS;
  readonly clusterDomain: string;
  readonly outsideDns: string;
  readonly proxyMode: ProxyMode;
  readonly nodes: typeof NODES;
  /** The argument vector that a command is appended to, to run it on the first laptop. */
  readonly laptop: readonly string[];
}

/** Returns the facts of the running cluster, or undefined where none is up as a whole (the folder outlives a reboot, it does not). */
export async function facts(): Promise<ClusterFacts | undefined> {
  if (!(await namespaces()).includes(CONTROL)) return undefined;
  return readRecord<ClusterFacts>(inCluster('facts.json'));
}

/** Returns the facts of the cluster after bringing it up; a running one (of this proxy mode, if one is named) stays as it is. */
export async function up(mode?: ProxyMode): Promise<ClusterFacts> {
  return locked(async () => {
    const running = await facts();
    if (running !== undefined && (mode === undefined || mode === running.proxyMode)) return running;
    await installPackages();
    const programs = await buildPrograms();
    if (await leftovers()) await telling('clearing what a former cluster left', clear);
    return telling('starting the cluster', () => bringUp(programs, mode ?? 'nftables')).catch(
      (error: unknown) => {
        say(`the programs' logs are in ${inCluster('logs')}`);
        throw error;
      },
    );
  });
}

async function bringUp(programs: readonly string[], mode: ProxyMode): Promise<ClusterFacts> {
  // 1. What the machine must be like, and the folder that remembers what it was like.
  await mkdir(inCluster(), { recursive: true });
  await prepareMachine();
  await linkPrograms(programs);
  // 2. Cables and certificates.
  const image = await workloadImage();
  await Promise.all([
    joinNetwork(),
    makeCertificates(),
    ...NODES.map((node) => writeProxyConfiguration(node, mode)),
  ]);
  // 3. The control plane, and meanwhile what needs none: containers, images, the outside, a laptop.
  await startApiServer();
  await startOutsideDns();
  await startBeside();
  const first = await makeFirstLaptop();
  const nodes = Promise.all(NODES.map((node) => startContainerd(node, [image])));
  await Promise.all([apiServerReady(), nodes]);
  // 4. Node objects with their pod networks, everything that talks to the API server, the workloads.
  await registerNodes();
  await startControllers();
  for (const [index, running] of (await nodes).entries()) {
    const node = NODES[index];
    if (node !== undefined) await startKubelet(running, node);
  }
  await applyWorkloads();
  await workloadsReady();
  return remember(describe(mode, first));
}

/** The nodes exist before their kubelets register, so that each has the pod network that the cables lead to. */
async function registerNodes(): Promise<void> {
  const items = NODES.map(({ name, podCidr }) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: { podCIDR: podCidr, podCIDRs: [podCidr] },
  }));
  await kubectl(['create', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
}

async function linkPrograms(folders: readonly string[]): Promise<void> {
  await rm(inCluster('bin'), { recursive: true, force: true });
  await mkdir(inCluster('bin'), { recursive: true });
  for (const folder of folders)
    for (const name of await readdir(folder)) await symlink(path.join(folder, name), inCluster('bin', name));
}

function describe(proxyMode: ProxyMode, first: Laptop): ClusterFacts {
  return {
    kubeconfig: inCluster('kubeconfig'),
    server: API_URL,
    versions: VERSIONS,
    networks: NETWORKS,
    clusterDomain: CLUSTER_DOMAIN,
    outsideDns: OUTSIDE_DNS_ADDRESS,
    proxyMode,
    nodes: NODES,
    laptop: onLaptop(first, [], '/'),
  };
}

/** The facts' record comes last: it is what says that the cluster is up. */
async function remember(all: ClusterFacts): Promise<ClusterFacts> {
  await writeRecord(inCluster('facts.json'), all);
  say(
    `up; try "npm run cluster -- kubectl get pods -A -o wide" and "npm run cluster -- laptop -- ip addr" (${FIRST_LAPTOP})`,
  );
  return all;
}
