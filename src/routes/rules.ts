/**
 * Policy routing: which tables an ordinary packet meets, and which of our networks need a rule of their own because
 * a table before the main one (an exit node's, a VPN's) would take them. Pure. ip-rule(8).
 */
import { formatCidr, overlaps, type Cidr } from '../base/cidr.js';
import type { HostNetworks, HostRule } from './host.js';

/** Priority of our rules (our choice: before the 52xx of Tailscale and the 327xx of WireGuard and the system's). */
const PRIORITY = 5000;

/** A rule that sends what goes to this network to the main table. */
export interface PlannedRule {
  readonly to: string;
  readonly priority: number;
}

/** Returns the tables that an ordinary packet of the laptop may meet, `local` left out. */
export function consultedTables(rules: readonly HostRule[]): Set<string> {
  const met = rules.filter((rule) => !rule.conditional).flatMap((rule) => rule.table ?? []);
  return new Set(['main', ...met].filter((table) => table !== 'local'));
}

/** Returns the rules that the routes need, none on a laptop without policy routing before its main table. */
export function planRules(routes: readonly Cidr[], host: HostNetworks, interfaceName: string): PlannedRule[] {
  const early = earlyRules(host.rules);
  return routes.flatMap((route) => {
    const taking = early.filter((rule) => takes(rule, route, host, interfaceName));
    if (taking.length === 0) return [];
    const before = Math.min(...taking.map((rule) => rule.priority)) - 1;
    return before < 1 ? [] : [{ to: formatCidr(route), priority: Math.min(PRIORITY, before) }];
  });
}

/** Returns the rules of others that ordinary packets meet before the main table answers. */
function earlyRules(rules: readonly HostRule[]): HostRule[] {
  const met = rules.filter((rule) => !rule.conditional && !rule.own && rule.table !== 'local');
  const main = met.find((rule) => rule.table === 'main' && rule.to === undefined && rule.suppressPrefix < 8);
  return met.filter((rule) => rule.table !== 'main' && rule.priority < (main?.priority ?? Infinity));
}

function takes(rule: HostRule, route: Cidr, host: HostNetworks, interfaceName: string): boolean {
  if (rule.to !== undefined && !overlaps(rule.to, route)) return false;
  if (rule.table === undefined) return ['unreachable', 'blackhole', 'prohibit'].includes(rule.action);
  return host.routes.some(
    (other) =>
      other.table === rule.table &&
      other.kind !== 'throw' &&
      other.interfaceName !== interfaceName &&
      other.network.prefix > rule.suppressPrefix &&
      overlaps(other.network, route),
  );
}
