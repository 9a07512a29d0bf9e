/**
 * What the cluster's objects say about its networks. Pure. Every field of an object may be missing or wrong: what is
 * no IPv4 network or address is left out.
 */
import {
  cidr,
  contains,
  formatAddress,
  formatCidr,
  holds,
  merge,
  networkOf,
  overlaps,
  parseAddress,
  parseCidr,
  type Cidr,
} from '../base/cidr.js';

/** Longest prefix learnt of a single address (our choice: new Services and pods next to known ones are reached at once). */
const LEARNT_PREFIX = 24;
/** Shortest prefix of a network learnt: kube-apiserver takes no service range wider than 2^20 addresses. */
const WIDEST_PREFIX = 12;
/** Most networks of a kind that are announced (our choice); beyond, they are told wider. */
const NETWORK_LIMIT = 256;
/** Never announced: "this" network, loopback, link-local, multicast, reserved. RFC 6890. */
const NEVER = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].map(cidr);

/** The parts of a Node that are read. */
export interface NodeObject {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec?: { readonly podCIDR?: string; readonly podCIDRs?: readonly string[] };
  readonly status?: { readonly addresses?: readonly { readonly address?: string }[] };
}

/** The parts of a ServiceCIDR that are read. */
export interface ServiceCidrObject {
  readonly spec?: { readonly cidrs?: readonly string[] };
}

/** The parts of a Service that are read. */
export interface ServiceObject {
  readonly spec?: { readonly clusterIP?: string; readonly clusterIPs?: readonly string[] };
}

/** The parts of a Pod that are read. */
export interface PodObject {
  readonly spec?: { readonly hostNetwork?: boolean };
  readonly status?: { readonly phase?: string; readonly podIPs?: readonly { readonly ip?: string }[] };
}

/** Returns the Services' networks as their ServiceCIDR objects say them. */
export function networksOfServiceCidrs(objects: Iterable<ServiceCidrObject>): string[] {
  return summarize([...objects].flatMap((object) => object.spec?.cidrs ?? []).flatMap(valid));
}

/**
 * Returns the Services' networks learnt from cluster IPs: the smallest network that holds all of them, at least a
 * /24; where that would be wider than a service range can be (/12), the /16 of each.
 */
export function networksOfServices(objects: Iterable<ServiceObject>): string[] {
  const addresses = [...objects]
    .flatMap(({ spec }) => (spec?.clusterIPs ?? []).concat(spec?.clusterIP ?? []))
    .flatMap((text) => parseAddress(text) ?? []);
  const common = commonNetwork(addresses);
  if (common === undefined) return [];
  const networks =
    common.prefix >= WIDEST_PREFIX ? [common] : addresses.map((address) => networkOf(address, 16));
  return summarize(networks.filter(isUsable));
}

/** Returns the networks that the nodes say their pods are in. */
export function networksOfNodes(nodes: Iterable<NodeObject>): string[] {
  return summarize([...nodes].flatMap(podNetworks));
}

/**
 * Returns whether the nodes' podCIDRs are what pods really get: the manager's own pod lies in its own node's. (Some
 * network plugins hand out addresses of their own, and podCIDRs stand there all the same.)
 */
export function tellsPodNetworks(
  nodes: Iterable<NodeObject>,
  own: { podIP: string; hostIP: string },
): boolean {
  const address = parseAddress(own.podIP);
  const node = [...nodes].find(({ status }) => status?.addresses?.some((at) => at.address === own.hostIP));
  return (
    address !== undefined &&
    node !== undefined &&
    podNetworks(node).some((network) => holds(network, address))
  );
}

/** Returns the networks learnt from the pods' addresses: the /24 of each, neighbours joined. */
export function networksOfPods(pods: Iterable<PodObject>): string[] {
  const networks = [...pods].filter(hasOwnAddress).flatMap(({ status }) =>
    (status?.podIPs ?? []).flatMap(({ ip = '' }) => {
      const address = parseAddress(ip);
      return address === undefined ? [] : [networkOf(address, LEARNT_PREFIX)];
    }),
  );
  return summarize(networks.filter(isUsable));
}

function hasOwnAddress({ spec, status }: PodObject): boolean {
  return spec?.hostNetwork !== true && status?.phase !== 'Succeeded' && status?.phase !== 'Failed';
}

/** Annotations by which network plugins tell a node's addresses within the pod network (flannel, Calico, Cilium). */
const ADDRESS_ANNOTATIONS = [
  'flannel.alpha.coreos.com/public-ip',
  'projectcalico.org/IPv4Address',
  'projectcalico.org/IPv4IPIPTunnelAddr',
  'projectcalico.org/IPv4VXLANTunnelAddr',
  'projectcalico.org/IPv4WireguardInterfaceAddr',
  'network.cilium.io/ipv4-cilium-host',
  'io.cilium.network.ipv4-cilium-host',
];

/**
 * Returns the nodes' addresses, ascending: those of their status, those that network plugins annotate, the base of each
 * podCIDR (flannel's), and the pod's own gateways; where one of these is the first address of its node's podCIDR
 * (bridge and ptp plugins), the first one of every podCIDR.
 */
export function addressesOfNodes(nodes: Iterable<NodeObject>, gateways: readonly string[]): string[] {
  const all = [...nodes];
  const networks = all.flatMap(podNetworks);
  const own = gateways.flatMap((text) => parseAddress(text) ?? []);
  const firstIsGateway = networks.some((network) => own.includes(network.base + 1));
  const told = all.flatMap(({ metadata, status }) => {
    const annotated = ADDRESS_ANNOTATIONS.map((key) => metadata?.annotations?.[key]?.split('/')[0] ?? '');
    return annotated.concat((status?.addresses ?? []).map((at) => at.address ?? ''));
  });
  const addresses = [
    ...told.flatMap((text) => parseAddress(text) ?? []),
    ...own,
    ...networks.flatMap(({ base }) => (firstIsGateway ? [base, base + 1] : [base])),
  ];
  return [...new Set(addresses)].sort((a, b) => a - b).map(formatAddress);
}

/** Returns the valid namespace names, ascending. RFC 1123 labels. */
export function namespaceNames(
  objects: Iterable<{ readonly metadata?: { readonly name?: string } }>,
): string[] {
  const names = [...objects].flatMap(({ metadata }) => metadata?.name ?? []);
  return names.filter((name) => /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(name)).sort();
}

/** Returns the resolvers (IPv4) of a resolv.conf, and the cluster's domain as its search list shows it. resolv.conf(5) */
export function parseResolvConf(text: string): { resolvers: string[]; clusterDomain: string } {
  const lines = text.split('\n').map((line) => line.trim().split(/\s+/));
  const resolvers = lines
    .filter(([keyword]) => keyword === 'nameserver')
    .flatMap(([, address = '']) => (parseAddress(address) === undefined ? [] : [address]));
  const search = lines.findLast(([keyword]) => keyword === 'search')?.slice(1) ?? [];
  const domain = search
    .find((entry) => entry.startsWith('svc.'))
    ?.slice('svc.'.length)
    .replace(/\.$/, '');
  return { resolvers, clusterDomain: domain === undefined || domain === '' ? 'cluster.local' : domain };
}

/** Returns the gateways of /proc/net/route, which holds addresses as little-endian hexadecimals. proc(5) */
export function parseGateways(text: string): string[] {
  const rows = text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/));
  const gateways = rows
    .map(([, , gateway = '']) => gateway)
    .filter((gateway) => /^[0-9A-F]{8}$/i.test(gateway));
  const addresses = gateways.map((gateway) => Buffer.from(gateway, 'hex').readUInt32LE());
  return [...new Set(addresses)].filter((address) => address !== 0).map(formatAddress);
}

/**
 * Returns the networks ascending, none inside another, halves of one network joined; more than 256 are widened step by
 * step (a /24 to the /23 that holds it, and so on, never beyond /12) until they fit.
 */
export function summarize(networks: readonly Cidr[]): string[] {
  let summary = join(merge(networks));
  for (let prefix = LEARNT_PREFIX; summary.length > NETWORK_LIMIT && prefix >= WIDEST_PREFIX; prefix -= 1)
    summary = join(
      merge(summary.map((network) => (network.prefix > prefix ? networkOf(network.base, prefix) : network))),
    );
  return summary.slice(0, NETWORK_LIMIT).map(formatCidr);
}

/** Joins neighbours that are the two halves of one network, again and again; the list is ascending and disjoint. */
function join(networks: readonly Cidr[]): Cidr[] {
  const done: Cidr[] = [];
  for (const network of networks) {
    let whole = network;
    for (let last = done.at(-1); last !== undefined && isUpperHalf(last, whole); last = done.at(-1)) {
      done.pop();
      whole = { base: last.base, prefix: last.prefix - 1 };
    }
    done.push(whole);
  }
  return done;
}

function isUpperHalf(lower: Cidr, upper: Cidr): boolean {
  if (lower.prefix !== upper.prefix || lower.prefix === 0) return false;
  const whole = networkOf(lower.base, lower.prefix - 1);
  return whole.base === lower.base && contains(whole, upper) && upper.base !== lower.base;
}

function commonNetwork(addresses: readonly number[]): Cidr | undefined {
  if (addresses.length === 0) return undefined;
  const least = addresses.reduce((a, b) => Math.min(a, b));
  const most = addresses.reduce((a, b) => Math.max(a, b));
  let prefix = LEARNT_PREFIX;
  while (!holds(networkOf(least, prefix), most)) prefix -= 1;
  return networkOf(least, prefix);
}

function podNetworks({ spec }: NodeObject): Cidr[] {
  const networks = [spec?.podCIDR ?? '', ...(spec?.podCIDRs ?? [])].flatMap(valid);
  return merge(networks);
}

function valid(text: string): Cidr[] {
  const network = parseCidr(text);
  return network !== undefined && network.prefix >= 8 && isUsable(network) ? [network] : [];
}

function isUsable(network: Cidr): boolean {
  return !NEVER.some((never) => overlaps(never, network));
}
