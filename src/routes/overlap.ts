/**
 * Finds where the cluster's networks meet networks of the laptop: its addresses and the routes that ordinary
 * packets meet (LAN, VPN, Docker bridges, single hosts). The default route is no overlap. Pure.
 */
import { contains, formatCidr, overlaps, subtract, type Cidr } from '../base/cidr.js';
import { CzError } from '../base/errors.js';
import type { HostNetworks } from './host.js';
import { consultedTables } from './rules.js';

/** Routes shorter than this stand for "everything else" (a VPN's 0.0.0.0/1, a complement list): no overlap. Our choice. */
export const DEFAULT_LIKE_BELOW = 8;
/** Overlaps that a message names one by one. */
const NAMED = 4;

/** Where a cluster network meets one of the laptop's. */
export interface Overlap {
  /** The cluster's network. */
  readonly cluster: string;
  /** The laptop's network, and the interface that it is on (empty: none, such as a blackhole route). */
  readonly network: string;
  readonly interfaceName: string;
  /** What both share: the smaller of the two. */
  readonly region: string;
  /** Whether `--also-route` gives all of it to the cluster. */
  readonly decided: boolean;
}

/** What is looked at for overlaps. */
export interface OverlapSearch {
  /** The cluster's networks. */
  readonly wanted: readonly Cidr[];
  /** What stays outside the tunnel anyway, and what the user gives to the cluster. */
  readonly outside: readonly Cidr[];
  readonly also: readonly Cidr[];
  readonly host: HostNetworks;
  /** cz's own interface, which overlaps nothing. */
  readonly interfaceName: string;
}

/** Returns each meeting of the cluster's networks with the laptop's own. */
export function findOverlaps(search: OverlapSearch): Overlap[] {
  return ownNetworks(search.host, search.interfaceName).flatMap((own) =>
    search.wanted
      .filter((network) => overlaps(network, own.network))
      .flatMap((network) => meet(network, own, search)),
  );
}

function meet(network: Cidr, own: OwnNetwork, { outside, also }: OverlapSearch): Overlap[] {
  const region = contains(network, own.network) ? own.network : network;
  const contested = subtract(region, outside);
  if (contested.length === 0) return [];
  const overlap = {
    cluster: formatCidr(network),
    network: formatCidr(own.network),
    interfaceName: own.interfaceName,
    region: formatCidr(region),
    decided: contested.every((part) => subtract(part, also).length === 0),
  };
  return [overlap];
}

/** Returns the error for overlaps that nobody decided; its hint holds the flags for both ways out. */
export function overlapError(found: readonly Overlap[]): CzError {
  const named = found.slice(0, NAMED).map(describe);
  const more = found.length > NAMED ? `, and ${found.length - NAMED} more` : '';
  const regions = [...new Set(found.map((overlap) => overlap.region))];
  const flags = (flag: string) => regions.map((region) => `${flag} ${region}`).join(' ');
  return new CzError(
    'NETWORK_OVERLAP',
    `the cluster's networks overlap the laptop's: ${named.join(', ')}${more}`,
    {
      hint: `"${flags('--never-route')}" leaves it to the laptop, "${flags('--also-route')}" gives it to the cluster`,
    },
  );
}

function describe({ cluster, network, interfaceName }: Overlap): string {
  const place = interfaceName === '' ? 'a route without interface' : `interface "${interfaceName}"`;
  return `"${cluster}" and "${network}" of ${place}`;
}

interface OwnNetwork {
  readonly network: Cidr;
  readonly interfaceName: string;
}

function ownNetworks(host: HostNetworks, interfaceName: string): OwnNetwork[] {
  const tables = consultedTables(host.rules);
  const routes = host.routes.filter((route) => tables.has(route.table) && isOrdinary(route.kind));
  const found = new Map<string, OwnNetwork>();
  for (const own of [...host.addresses, ...routes]) {
    if (own.interfaceName === interfaceName || own.network.prefix < DEFAULT_LIKE_BELOW) continue;
    found.set(`${formatCidr(own.network)} ${own.interfaceName}`, own);
  }
  return [...found.values()];
}

/** The local table repeats the addresses; a throw route only ends the search of its table. */
function isOrdinary(kind: string): boolean {
  return kind === 'unicast' || kind === 'blackhole' || kind === 'unreachable' || kind === 'prohibit';
}
