/**
 * What the laptop's own network looks like: addresses, routes of every table, policy rules, as `ip -j` tells
 * them. IPv4. Only reads. What `ip` prints is validated: entries that are not understood are left out, and more
 * than ENTRY_LIMIT of a kind is an error.
 */
import { parseAddress, parseCidr, type Cidr } from '../base/cidr.js';
import { CzError, hasCode, messageOf } from '../base/errors.js';
import { exec } from '../base/exec.js';

/** `proto` of every route and rule that cz adds (our choice; free in iproute2's rt_protos), so that they can be told apart. */
export const ROUTE_PROTOCOL = '67';
/** Most entries of a kind that are taken (our choice: a laptop has tens; a router with a full table is none). */
const ENTRY_LIMIT = 50_000;

/** An address of the laptop, with the network it lies in. */
interface HostAddress {
  readonly interfaceName: string;
  readonly address: number;
  readonly network: Cidr;
}

/** A route of any table. `kind` is `unicast` for an ordinary one, else `blackhole`, `throw`, `local` and so on. */
interface HostRoute {
  readonly network: Cidr;
  /** Empty for routes without an interface, such as a blackhole. */
  readonly interfaceName: string;
  readonly table: string;
  readonly kind: string;
  readonly gateways: readonly number[];
}

/** A policy rule. Those that only marked, bound or forwarded packets meet are `conditional`. */
export interface HostRule {
  readonly priority: number;
  /** The table looked up; undefined for rules that refuse or do nothing. */
  readonly table: string | undefined;
  readonly action: string;
  readonly to: Cidr | undefined;
  /** Routes of the table with a prefix of this length or shorter don't count. */
  readonly suppressPrefix: number;
  readonly conditional: boolean;
  /** Whether cz added it. */
  readonly own: boolean;
}

export interface HostNetworks {
  readonly addresses: readonly HostAddress[];
  readonly routes: readonly HostRoute[];
  readonly rules: readonly HostRule[];
}

/**
 * Returns the laptop's addresses, routes and rules, as they are now.
 * @throws IP_MISSING no `ip` program that speaks JSON · IP_FAILED it refused or printed what is not understood
 */
export async function readHost(): Promise<HostNetworks> {
  const [addresses, routes, rules] = await Promise.all([
    ipJson(['-4', 'address', 'show']),
    ipJson(['-4', 'route', 'show', 'table', 'all']),
    ipJson(['-4', 'rule', 'show']),
  ]);
  return parseHost(addresses, routes, rules);
}

/** Returns the networks out of the JSON of `ip -j address`, `route show table all` and `rule`. */
export function parseHost(addresses: unknown, routes: unknown, rules: unknown): HostNetworks {
  return {
    addresses: entries(addresses).flatMap(addressesOf),
    routes: entries(routes).flatMap(routeOf),
    rules: entries(rules).flatMap(ruleOf),
  };
}

/** Returns what `ip -j ARGS` prints. @throws IP_MISSING · IP_FAILED */
export async function ipJson(args: readonly string[]): Promise<unknown> {
  const { stdout } = await runIp(['ip', '-j', ...args]);
  try {
    return stdout.trim() === '' ? [] : JSON.parse(stdout);
  } catch (cause) {
    const message = `"ip -j ${args.join(' ')}" printed no JSON`;
    throw new CzError('IP_MISSING', message, {
      cause,
      hint: 'install iproute2 (BusyBox has a smaller "ip")',
    });
  }
}

/** Runs lines of `ip` commands as one batch; stops at the first that fails. @throws IP_MISSING · IP_FAILED */
export async function ipBatch(lines: readonly string[]): Promise<void> {
  if (lines.length > 0) await runIp(['ip', '-4', '-batch', '-'], `${lines.join('\n')}\n`);
}

async function runIp(argv: readonly string[], input = '') {
  try {
    return await exec(argv, { input });
  } catch (cause) {
    if (hasCode(cause, 'EXEC_MISSING'))
      throw new CzError('IP_MISSING', 'no program "ip" found', { cause, hint: 'install iproute2' });
    throw new CzError('IP_FAILED', messageOf(cause), { cause });
  }
}

type Entry = Readonly<Record<string, unknown>>;

function entries(json: unknown): Entry[] {
  if (!Array.isArray(json)) throw new CzError('IP_FAILED', '"ip -j" printed no list');
  if (json.length > ENTRY_LIMIT)
    throw new CzError('IP_FAILED', `"ip -j" printed more than ${ENTRY_LIMIT} entries`);
  return json.filter(isEntry);
}

function isEntry(value: unknown): value is Entry {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(entry: Entry, key: string): string {
  const value = entry[key];
  return typeof value === 'string' ? value : '';
}

function number(entry: Entry, key: string, absent: number): number {
  const value = entry[key];
  return typeof value === 'number' && Number.isInteger(value) ? value : absent;
}

function addressesOf(link: Entry): HostAddress[] {
  const interfaceName = text(link, 'ifname');
  const list = Array.isArray(link['addr_info']) ? link['addr_info'].filter(isEntry) : [];
  return list.flatMap((info) => {
    // A point-to-point address names its peer: the network is the peer's.
    const local = parseAddress(text(info, 'local'));
    const network = parseCidr(
      `${text(info, 'address') || text(info, 'local')}/${number(info, 'prefixlen', 32)}`,
    );
    return local === undefined || network === undefined ? [] : [{ interfaceName, address: local, network }];
  });
}

function routeOf(route: Entry): HostRoute[] {
  const destination = text(route, 'dst');
  const network = parseCidr(destination === 'default' ? '0.0.0.0/0' : destination);
  if (network === undefined) return [];
  const hops = [route, ...(Array.isArray(route['nexthops']) ? route['nexthops'].filter(isEntry) : [])];
  return [
    {
      network,
      interfaceName: hops.map((hop) => text(hop, 'dev')).find((name) => name !== '') ?? '',
      table: text(route, 'table') || 'main',
      kind: text(route, 'type') || 'unicast',
      gateways: hops.flatMap((hop) => parseAddress(text(hop, 'gateway')) ?? []),
    },
  ];
}

/** Selectors that a plain connect of an ordinary program does not meet: a mark, a bound source, a forwarded packet. */
const SELECTORS = ['fwmark', 'oif', 'tos', 'ipproto', 'sport', 'dport', 'l3mdev'];

function ruleOf(rule: Entry): HostRule[] {
  const to = parseCidr(`${text(rule, 'dst')}/${number(rule, 'dstlen', 32)}`);
  const forwarded = 'iif' in rule && text(rule, 'iif') !== 'lo';
  const selective = forwarded || text(rule, 'src') !== 'all' || SELECTORS.some((key) => key in rule);
  return [
    {
      priority: number(rule, 'priority', 0),
      table: text(rule, 'table') || undefined,
      action: text(rule, 'action'),
      to,
      suppressPrefix: number(rule, 'suppress_prefixlen', -1),
      // "not fwmark …" is what an ordinary packet does meet.
      conditional: selective !== 'not' in rule,
      own: text(rule, 'protocol') === ROUTE_PROTOCOL,
    },
  ];
}
