/**
 * Which address a session gets: one of the ranges that its laptop finds free, not in use by another session, never
 * one of the cluster's own. Addresses are handed out in a ring, so that one is not used again soon (the kernel's
 * connection tracking may still know its former holder). Pure but for the ring.
 */
import {
  cidr,
  contains,
  formatAddress,
  holds,
  overlaps,
  parseAddress,
  parseCidr,
  type Cidr,
} from '../base/cidr.js';
import { CzError } from '../base/errors.js';

/**
 * Where a session's address may lie: networks for benchmarks (RFC 2544) and documentation (RFC 5737), which nothing
 * real uses. A laptop may offer whatever it likes; the route goes into our kernel, and with a private network the
 * manager's own answers to somebody there would go into a laptop's TUN.
 */
const PERMITTED = ['198.18.0.0/15', '203.0.113.0/24', '198.51.100.0/24', '192.0.2.0/24'].map(cidr);

/** Ranges looked at of an offer, and addresses tried of a range: bounds on what a laptop's offer can cost us. */
const RANGES_MAX = 16;
const TRIES_MAX = 4096;

export interface AddressRequest {
  /** CIDRs, best first; untrusted. */
  readonly ranges: readonly string[];
  /** The address that the laptop had before; untrusted. */
  readonly preferred?: string;
  /** The cluster's networks and the manager's own, which no session may sit in. */
  readonly taken: readonly Cidr[];
}

export interface AddressPool {
  /** Returns an IPv4 address that no session holds, now held. @throws NO_ADDRESS */
  acquire(request: AddressRequest): string;
  release(address: string): void;
}

/** Returns a pool in which nothing is held. */
export function createAddressPool(): AddressPool {
  const held = new Set<number>();
  const next = new Map<number, number>();
  return {
    acquire(request) {
      const ranges = usableRanges(request);
      const address = preferredAddress(request, ranges, held) ?? firstFree(ranges, held, next);
      if (address === undefined) throw noAddress(request.ranges);
      held.add(address);
      return formatAddress(address);
    },
    release(address) {
      const parsed = parseAddress(address);
      if (parsed !== undefined) held.delete(parsed);
    },
  };
}

function usableRanges({ ranges, taken }: AddressRequest): Cidr[] {
  return ranges
    .slice(0, RANGES_MAX)
    .map(parseCidr)
    .filter((range) => range !== undefined)
    .filter((range) => PERMITTED.some((outer) => contains(outer, range)))
    .filter((range) => !taken.some((network) => overlaps(range, network)));
}

function preferredAddress(request: AddressRequest, ranges: readonly Cidr[], held: ReadonlySet<number>) {
  const address = request.preferred === undefined ? undefined : parseAddress(request.preferred);
  if (address === undefined || held.has(address)) return undefined;
  return ranges.some((range) => holds(range, address)) ? address : undefined;
}

function firstFree(ranges: readonly Cidr[], held: ReadonlySet<number>, next: Map<number, number>) {
  for (const range of ranges) {
    const size = 2 ** (32 - range.prefix);
    for (let tries = 0; tries < Math.min(size, TRIES_MAX); tries += 1) {
      const address = range.base + ((next.get(range.base) ?? 1) % size);
      next.set(range.base, address - range.base + 1);
      if (!held.has(address) && isHost(address, range)) return address;
    }
  }
  return undefined;
}

/** The first and last address of a range are left out: some systems take them for the network and its broadcast. */
function isHost(address: number, range: Cidr): boolean {
  const last = range.base + 2 ** (32 - range.prefix) - 1;
  return range.prefix >= 31 || (address !== range.base && address !== last);
}

function noAddress(ranges: readonly string[]): CzError {
  return new CzError(
    'NO_ADDRESS',
    `no free address in ${ranges.slice(0, RANGES_MAX).join(', ') || 'an empty offer'}`,
    {
      hint: 'the ranges that the laptop offers must lie outside the cluster’s networks',
    },
  );
}
