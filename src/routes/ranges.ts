/**
 * Picks addresses for a session: ranges that are free in the laptop's own tables, to be offered to the manager, and
 * an address of the laptop's own for its resolver, which is never offered. Pure.
 */
import { cidr, formatAddress, formatCidr, overlaps, subtract, type Cidr } from '../base/cidr.js';
import { CzError } from '../base/errors.js';
import { DEFAULT_LIKE_BELOW } from './overlap.js';
import type { HostNetworks } from './host.js';

/**
 * Where session addresses may lie, in order of preference: the benchmarking network (RFC 2544), then the three
 * documentation networks (RFC 5737). No real network uses them, so no cluster's can either. 100.64.0.0/10 is Tailscale's.
 */
const POOLS: readonly Cidr[] = ['198.18.0.0/15', '203.0.113.0/24', '198.51.100.0/24', '192.0.2.0/24'].map(
  cidr,
);
/** Where the resolver's address may lie: the last /24 of the benchmarking network, else of a documentation network. */
const DNS_BLOCKS: readonly Cidr[] = [
  '198.19.255.0/24',
  '192.0.2.0/24',
  '198.51.100.0/24',
  '203.0.113.0/24',
].map(cidr);
const DNS_HOST = 53;
/** Longest prefix worth offering, and most ranges offered (our choice). */
const LONGEST_PREFIX = 28;
const RANGE_LIMIT = 16;

export interface Ranges {
  /** Networks to offer, the best first; at least one. */
  readonly sessionRanges: string[];
  /** The resolver's address, outside all of them. */
  readonly dnsAddress: string;
}

/**
 * Returns ranges that no address and no route of any table of the laptop touches (cz's own interface left out).
 * @throws NO_FREE_RANGE all of them are in use on the laptop
 */
export function pickRanges(host: HostNetworks, interfaceName = ''): Ranges {
  const used = usedNetworks(host, interfaceName);
  const block = DNS_BLOCKS.find((candidate) => !used.some((network) => overlaps(network, candidate)));
  if (block === undefined) throw noneFree();
  const free = POOLS.flatMap((pool) => wideFirst(subtract(pool, [...used, block])));
  const sessionRanges = free
    .filter((range) => range.prefix <= LONGEST_PREFIX)
    .slice(0, RANGE_LIMIT)
    .map(formatCidr);
  if (sessionRanges.length === 0) throw noneFree();
  return { sessionRanges, dnsAddress: formatAddress(block.base + DNS_HOST) };
}

function usedNetworks(host: HostNetworks, interfaceName: string): Cidr[] {
  return [...host.addresses, ...host.routes]
    .filter((own) => own.interfaceName !== interfaceName && own.network.prefix >= DEFAULT_LIKE_BELOW)
    .map((own) => own.network);
}

function wideFirst(networks: readonly Cidr[]): Cidr[] {
  return [...networks].sort((a, b) => a.prefix - b.prefix || a.base - b.base);
}

function noneFree(): CzError {
  return new CzError(
    'NO_FREE_RANGE',
    `no address free for a session: ${POOLS.map(formatCidr).join(', ')} are in use`,
    {
      hint: 'remove the route or address that covers them ("ip route show table all")',
    },
  );
}
