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

/** Returns each meeting of `wanted` with the laptop's own networks, those on cz's interface left out. */
export function findOverlaps(
  wanted: readonly Cidr[],
  also: readonly Cidr[],
  host: HostNetworks,
  interfaceName: string,
): Overlap[] {
  return ownNetworks(host, interfaceName).flatMap((own) =>
    wanted
      .filter((network) => overlaps(network, own.network))
      .map((network) => {
        const region = contains(network, own.network) ? own.network : network;
        return {
          cluster: formatCidr(network),
          network: formatCidr(own.network),
          interfaceName: own.interfaceName,
          region: formatCidr(region),
          decided: subtract(region, also).length === 0,
        };
      }),
  );
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
