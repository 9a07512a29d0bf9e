/**
 * What the tests' cluster looks like: versions, addresses, folders. Everything else in this room reads it from here.
 * The networks are documentation and private ranges that collide neither with each other nor with 198.18.0.0/15,
 * from which sessions get their addresses.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Versions of what is built; they stand in the go.mod files too, and the build fails when the two differ. */
export const VERSIONS = {
  kubernetes: '1.36.3',
  containerd: '2.2.0',
  etcd: '3.6.8',
  coredns: '1.15.0',
} as const;

/** Address ranges: the nodes' own, pods (a /24 per node), Services, the laptops' LAN, the API server's edge. */
export const NETWORKS = {
  nodes: '172.31.0.0/24',
  pods: '10.244.0.0/16',
  services: '10.96.0.0/16',
  laptops: '198.51.100.0/24',
  apiServer: '203.0.113.0/24',
} as const;

/** The control plane's address among the nodes; the API server advertises it. */
export const CONTROL_ADDRESS = '172.31.0.1';
/** Where laptops (and every kubeconfig) find the API server; it is behind the laptops' router. */
export const API_ADDRESS = '203.0.113.10';
export const API_PORT = 6443;
export const API_URL = `https://${API_ADDRESS}:${API_PORT}`;
/** The router of the laptops' LAN; what it has no route for gets ICMP unreachable. */
export const ROUTER_ADDRESS = '198.51.100.1';
/** The outside DNS server, on the laptops' LAN. */
export const OUTSIDE_DNS_ADDRESS = '198.51.100.53';
export const CLUSTER_DNS_ADDRESS = '10.96.0.10';
export const CLUSTER_DOMAIN = 'cluster.local';
/** The zone that the outside DNS server knows besides nothing. RFC 6761 §6.2 keeps `test` out of the real tree. */
export const OUTSIDE_ZONE = 'outside.test';

export interface NodeSettings {
  readonly name: string;
  readonly address: string;
  readonly podCidr: string;
}

/** The two nodes. */
export const NODES: readonly NodeSettings[] = [
  { name: 'node1', address: '172.31.0.11', podCidr: '10.244.1.0/24' },
  { name: 'node2', address: '172.31.0.12', podCidr: '10.244.2.0/24' },
];

/** The one image of the workloads; also what a pod's sandbox runs. */
export const WORKLOAD_IMAGE = 'cz.test/workload:1';

/** A host among the nodes that is not of the cluster: pods reach it, laptops only by way of a pod. HTTP on 80, echo on 7. */
export const BESIDE_ADDRESS = '172.31.0.100';

/** Names of network namespaces, of cgroups and of nothing else on the machine begin with this. */
export const PREFIX = 'cz-';
export const CONTROL = `${PREFIX}control`;
export const OUTSIDE = `${PREFIX}outside`;
export const BESIDE = `${PREFIX}beside`;

export type ProxyMode = 'nftables' | 'iptables';

/** Where the state of the running cluster lies: removed as a whole by `down`. */
export const CLUSTER_DIR = process.env['CZ_CLUSTER_DIR'] ?? '/var/lib/cz-cluster';
/** Where built programs and images lie, each under a name made from what went into it. */
export const CACHE_DIR =
  process.env['CZ_CACHE'] ??
  path.join(process.env['XDG_CACHE_HOME'] ?? `${process.env['HOME'] ?? '/root'}/.cache`, 'cz-cluster');
/** The folder of the Go modules. */
export const MODULES_DIR = fileURLToPath(new URL('../kubernetes', import.meta.url));
/** The folder of the workloads: manifests and the programs in their image. */
export const WORKLOADS_DIR = fileURLToPath(new URL('../workloads', import.meta.url));

/** Returns a path in the cluster's folder. */
export function inCluster(...parts: string[]): string {
  return path.join(CLUSTER_DIR, ...parts);
}
