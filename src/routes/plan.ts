/**
 * Decides which networks go into the tunnel: what the cluster told (untrusted), minus `--never-route`, minus the
 * addresses that must stay outside, plus `--also-route`, held against the laptop's own networks. Pure: nothing is
 * changed here, and apply.ts does what the plan says.
 */
import { cidr, contains, formatCidr, merge, overlaps, parseCidr, subtract, type Cidr } from '../base/cidr.js';
import { CzError } from '../base/errors.js';
import type { HostNetworks } from './host.js';
import { findOverlaps, overlapError, type Overlap } from './overlap.js';
import { planRules, type PlannedRule } from './rules.js';

/** Networks that never go into a tunnel: "this" network, loopback, link-local, multicast, reserved, broadcast. RFC 6890. */
const NEVER: readonly Cidr[] = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].map(cidr);
/** The clouds' metadata service: not even as a DNS server. */
const METADATA = cidr('169.254.169.254');
/** Shortest prefix taken (our choice: 10.0.0.0/8 is the widest network that clusters use). */
const SHORTEST_PREFIX = 8;
/** Most networks taken from the cluster (PROTOCOL.md §2: 2048 of each kind), and most routes made (our choice). */
const NETWORK_LIMIT = 3 * 2048;
const ROUTE_LIMIT = 8192;

export interface PlanOptions {
  /** The cluster's networks, as its manager tells them: untrusted. */
  readonly networks: readonly string[];
  /** The user's `--also-route` and `--never-route`: networks or addresses. */
  readonly alsoRoute: readonly string[];
  readonly neverRoute: readonly string[];
  /** Addresses that stay outside the tunnel whatever else is said: API server, proxy, outside resolvers. Gateways of the laptop's routes are added. */
  readonly protectedAddresses: readonly string[];
  readonly host: HostNetworks;
  /** cz's own interface: what is on it is no overlap. */
  readonly interfaceName: string;
  /** The cluster's DNS server; its route is added, also where it is a node-local resolver's link-local address. */
  readonly dnsServer?: string;
  /** What an overlap leads to: `refuse` (default) throws; `yield` leaves the network to the laptop (while connected). */
  readonly whenOverlapping?: 'refuse' | 'yield';
}

/** A network that gets no route, or not all of it. `network` is what the cluster or the user named. */
interface Skipped {
  readonly network: string;
  readonly reason: 'invalid' | 'never-route' | 'protected' | 'overlap' | 'not-routable';
}

export interface RoutePlan {
  /** Networks for the tunnel, ascending; one lies inside another only where it has to win over a route of the laptop's. */
  readonly routes: readonly string[];
  /** Networks of these that need a policy rule, because another table is asked before the main one. */
  readonly rules: readonly PlannedRule[];
  /** Overlaps that the user decided by `--also-route`, or that were left to the laptop. */
  readonly overlaps: readonly Overlap[];
  readonly skipped: readonly Skipped[];
}

/**
 * Returns the routes to make. A network of `--never-route` stays outside, except where a longer `--also-route` lies
 * in it; a protected address stays outside always.
 * @throws USAGE a flag that is no network, or one that no tunnel may take · NETWORK_OVERLAP the cluster's networks
 * meet the laptop's own, naming interface, network and the way out · NETWORKS_INVALID more networks than any cluster has
 */
export function planRoutes(options: PlanOptions): RoutePlan {
  const also = options.alsoRoute.map((text) => userNetwork('--also-route', text));
  const never = options.neverRoute.map(cidr);
  const kept = protectedNetworks(options);
  const told = clusterNetworks(options.networks);
  const outside = [...never, ...kept];

  const found = findOverlaps({ ...options, wanted: told.valid, outside, also });
  const undecided = found.filter((overlap) => !overlap.decided);
  if (undecided.length > 0 && options.whenOverlapping !== 'yield') throw overlapError(undecided);
  const left = undecided.map((overlap) => cidr(overlap.region));

  const wanted = merge([
    ...told.valid.flatMap((network) => subtract(network, [...outside, ...left])),
    ...also.flatMap((network) => subtract(network, [...inside(network, never), ...kept])),
    ...dnsRoute(options.dnsServer, kept),
  ]);
  const taken = found
    .filter(({ decided, region, network }) => decided && region === network)
    .map(({ region }) => cidr(region));
  const routes = winning([...wanted, ...takenOver(wanted, taken, outside)], options);
  if (routes.length > ROUTE_LIMIT)
    throw new CzError('NETWORKS_INVALID', `the cluster's networks need more than ${ROUTE_LIMIT} routes`);
  return {
    routes: routes.map(formatCidr),
    rules: planRules(routes, options.host, options.interfaceName),
    overlaps: found,
    skipped: [...told.skipped, ...explain(told.valid, never, kept, left), ...unroutable(found)],
  };
}

function userNetwork(flag: string, text: string): Cidr {
  const network = cidr(text);
  if (network.prefix < SHORTEST_PREFIX || NEVER.some((never) => overlaps(never, network)))
    throw new CzError('USAGE', `${flag} "${text}" can't go through the tunnel`, {
      hint: 'name a unicast network of /8 or longer; the default route and link-local addresses stay as they are',
    });
  return network;
}

/** Returns the networks of the cluster that are fit to be routed at all. */
function clusterNetworks(networks: readonly string[]): { valid: Cidr[]; skipped: Skipped[] } {
  if (networks.length > NETWORK_LIMIT)
    throw new CzError('NETWORKS_INVALID', `the cluster names more than ${NETWORK_LIMIT} networks`);
  const valid: Cidr[] = [];
  const skipped: Skipped[] = [];
  for (const text of networks) {
    const network = parseCidr(text);
    if (
      network === undefined ||
      network.prefix < SHORTEST_PREFIX ||
      NEVER.some((never) => overlaps(never, network))
    )
      skipped.push({ network: text.slice(0, 64), reason: 'invalid' });
    else valid.push(network);
  }
  return { valid: merge(valid), skipped };
}

/** Returns what stays outside always: what the caller names, and each gateway that the laptop's routes go by. */
function protectedNetworks({ protectedAddresses, host, interfaceName }: PlanOptions): Cidr[] {
  const gateways = host.routes
    .filter((route) => route.interfaceName !== interfaceName)
    .flatMap((route) => route.gateways.map((base) => ({ base, prefix: 32 })));
  return merge([...protectedAddresses.flatMap((text) => parseCidr(text) ?? []), ...gateways]);
}

function inside(network: Cidr, others: readonly Cidr[]): Cidr[] {
  return others.filter((other) => contains(network, other));
}

/** Returns what the user took from the laptop inside the wanted networks: routes of their own, to be made longer than the laptop's. */
function takenOver(wanted: readonly Cidr[], taken: readonly Cidr[], outside: readonly Cidr[]): Cidr[] {
  const inner = taken.filter((own) => wanted.some((network) => overlaps(network, own)));
  return inner
    .filter((own) => own.prefix < 32)
    .flatMap((own) => halves(own).flatMap((half) => subtract(half, outside)));
}

/**
 * Returns the routes ascending and without repeats, each one that equals a route of the laptop's replaced by its
 * halves: the longer one wins, and the laptop's own stays as it is. A single address can't be halved.
 */
function winning(networks: readonly Cidr[], { host, interfaceName }: PlanOptions): Cidr[] {
  const others = host.routes.filter(
    (route) => route.table === 'main' && route.interfaceName !== interfaceName,
  );
  const own = new Set(others.map((route) => formatCidr(route.network)));
  const longer = (network: Cidr): Cidr[] => {
    if (!own.has(formatCidr(network))) return [network];
    return network.prefix === 32 ? [] : halves(network).flatMap(longer);
  };
  const byText = new Map(networks.flatMap(longer).map((network) => [formatCidr(network), network]));
  return [...byText.values()].sort((a, b) => a.base - b.base || a.prefix - b.prefix);
}

function halves({ base, prefix }: Cidr): Cidr[] {
  const longer = prefix + 1;
  return [base, base + 2 ** (32 - longer)].map((start) => ({ base: start, prefix: longer }));
}

function dnsRoute(dnsServer: string | undefined, kept: readonly Cidr[]): Cidr[] {
  const address = dnsServer === undefined ? undefined : parseCidr(dnsServer);
  if (address?.prefix !== 32 || contains(METADATA, address)) return [];
  const linkLocal = contains(cidr('169.254.0.0/16'), address);
  if (!linkLocal && NEVER.some((never) => contains(never, address))) return [];
  return subtract(address, kept);
}

function explain(
  told: readonly Cidr[],
  never: readonly Cidr[],
  kept: readonly Cidr[],
  left: readonly Cidr[],
): Skipped[] {
  const touching = (holes: readonly Cidr[], reason: Skipped['reason']) =>
    told
      .filter((network) => holes.some((hole) => overlaps(network, hole)))
      .map((network): Skipped => ({ network: formatCidr(network), reason }));
  return [...touching(never, 'never-route'), ...touching(kept, 'protected'), ...touching(left, 'overlap')];
}

/** A single address of the laptop's own can't be taken over by a longer route. */
function unroutable(found: readonly Overlap[]): Skipped[] {
  return found
    .filter(
      (overlap) => overlap.decided && overlap.region.endsWith('/32') && overlap.network === overlap.region,
    )
    .map((overlap) => ({ network: overlap.region, reason: 'not-routable' }));
}
