/**
 * The cables: a bridge that joins control plane and nodes (in the control plane's namespace), a router with the laptops'
 * LAN (in the outside namespace), and one cable between the two, on which the API server is found.
 *
 *   laptop ── lan0 [cz-outside] control ── edge [cz-control] cluster0 ── eth0 [cz-node1], [cz-node2]
 *
 * The control plane forwards nothing: a laptop reaches the API server and nothing behind it, and what a pod or a node sends
 * elsewhere gets ICMP unreachable. Each cable's ends are
 * made inside their namespaces: the machine's own never sees a link.
 */
import { exec } from '../../../src/base/exec.js';
import { addNamespace, ip, sysctl } from './namespaces.js';
import {
  API_ADDRESS,
  BESIDE,
  BESIDE_ADDRESS,
  CONTROL,
  CONTROL_ADDRESS,
  NETWORKS,
  NODES,
  OUTSIDE,
  OUTSIDE_DNS_ADDRESS,
  PREFIX,
  ROUTER_ADDRESS,
  type NodeSettings,
} from './settings.js';
import { until } from './until.js';

const FORWARDING_TIMEOUT_MS = 5000;
const OUTSIDE_EDGE = '203.0.113.1';

/** Returns the name of a node's namespace. */
export function nodeNamespace(node: NodeSettings): string {
  return `${PREFIX}${node.name}`;
}

/** Makes the namespaces and joins them; the nodes' host beside the cluster as well. */
export async function joinNetwork(): Promise<void> {
  for (const net of [CONTROL, OUTSIDE, BESIDE, ...NODES.map(nodeNamespace)]) await addNamespace(net);
  await sysctl(CONTROL, ['net.ipv4.ip_forward=1']); // else what comes to be forwarded is dropped without a word
  await sysctl(OUTSIDE, ['net.ipv4.ip_forward=1']);
  await ip(CONTROL, [
    `link add edge type veth peer name control netns ${OUTSIDE}`,
    'link add cluster0 address 02:00:00:1f:00:01 type bridge',
    `addr add ${CONTROL_ADDRESS}/24 dev cluster0`,
    `addr add ${API_ADDRESS}/24 dev edge`,
    'link set cluster0 up',
    'link set edge up',
    `route add ${NETWORKS.laptops} via ${OUTSIDE_EDGE}`,
    ...NODES.map((node) => `route add ${node.podCidr} via ${node.address}`),
    'rule add pref 100 iif cluster0 unreachable',
    'rule add pref 100 iif edge unreachable',
  ]);
  await ip(OUTSIDE, [
    'link add lan0 address 02:00:00:c6:33:01 type bridge',
    `addr add ${ROUTER_ADDRESS}/24 dev lan0`,
    `addr add ${OUTSIDE_DNS_ADDRESS}/24 dev lan0`,
    `addr add ${OUTSIDE_EDGE}/24 dev control`,
    'link set lan0 up',
    'link set control up',
    'route add unreachable default',
  ]);
  for (const node of NODES) await joinNode(node);
  await joinBeside();
}

async function joinBeside(): Promise<void> {
  await ip(CONTROL, [
    `link add beside type veth peer name eth0 netns ${BESIDE}`,
    'link set beside master cluster0 up',
  ]);
  await ip(BESIDE, [
    `addr add ${BESIDE_ADDRESS}/24 dev eth0`,
    'link set eth0 up',
    ...NODES.map((node) => `route add ${node.podCidr} via ${node.address}`),
  ]);
}

async function joinNode(node: NodeSettings): Promise<void> {
  const net = nodeNamespace(node);
  const others = NODES.filter((other) => other !== node);
  await sysctl(net, ['net.ipv4.ip_forward=1']);
  await ip(CONTROL, [
    `link add ${node.name} type veth peer name eth0 netns ${net}`,
    `link set ${node.name} master cluster0 up`,
  ]);
  await ip(net, [
    `addr add ${node.address}/24 dev eth0`,
    'link set eth0 up',
    ...others.map((other) => `route add ${other.podCidr} via ${other.address}`),
    `route add default via ${CONTROL_ADDRESS}`, // without one, a node's own packets to a Service have no route
  ]);
}

/** Returns when these ports of a bridge forward: one that has just joined drops everything until the kernel noticed its link. */
export async function forwarding(net: string, ports: readonly string[]): Promise<void> {
  await until(
    'bridge ports that forward',
    async () => {
      const { stdout } = await exec(['bridge', '-n', net, '-o', 'link', 'show']);
      const lines = stdout
        .split('\n')
        .filter((line) => ports.includes(/^\d+: ([^@:]+)/.exec(line)?.[1] ?? ''));
      return lines.length === ports.length && lines.every((line) => line.includes('state forwarding'));
    },
    { timeoutMs: FORWARDING_TIMEOUT_MS, everyMs: 10 },
  );
}
