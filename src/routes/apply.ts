/**
 * Makes the kernel's routes and rules what a plan says, by literal `ip` commands, changing only what differs from
 * what is there. Routes vanish with the TUN; rules don't: RULES_UNDO takes them away.
 */
import { CzError, messageOf } from '../base/errors.js';
import { formatCidr } from '../base/cidr.js';
import { ipBatch, readHost, ROUTE_PROTOCOL, type HostNetworks } from './host.js';
import type { RoutePlan } from './plan.js';
import type { PlannedRule } from './rules.js';

/** The undo of every rule that cz may add, as an action for the journal: harmless when there is none. */
export const RULES_UNDO = {
  kind: 'run',
  argv: ['ip', '-4', 'rule', 'flush', 'protocol', ROUTE_PROTOCOL],
} as const;

/**
 * Makes the plan true on the interface. Nothing of others is replaced or removed. If a command fails, those before
 * it are taken back. A plan with rules needs RULES_UNDO in the journal before.
 * @throws ROUTES_FAILED with what `ip` said · IP_MISSING
 */
export async function applyRoutes(interfaceName: string, plan: RoutePlan): Promise<void> {
  const host = await readHost();
  const changes = planChanges(interfaceName, plan, host);
  try {
    await ipBatch(changes);
  } catch (cause) {
    await takeBack(interfaceName, host);
    throw new CzError('ROUTES_FAILED', `setting routes of "${interfaceName}": ${messageOf(cause)}`, {
      cause,
    });
  }
}

/** Returns the `ip` commands from what the kernel has to what the plan wants: rules away, routes, then rules. Pure. */
export function planChanges(
  interfaceName: string,
  plan: Pick<RoutePlan, 'routes' | 'rules'>,
  host: HostNetworks,
): string[] {
  const wanted = new Set(plan.routes);
  const present = new Set(ownRoutes(interfaceName, host));
  const wantedRules = new Set(plan.rules.map(ruleText));
  const presentRules = new Set(ownRules(host).map(ruleText));
  return [
    ...[...presentRules].filter((rule) => !wantedRules.has(rule)).map((rule) => `rule delete ${rule}`),
    ...[...present]
      .filter((route) => !wanted.has(route))
      .map((route) => `route delete ${routeText(route, interfaceName)}`),
    ...[...wanted]
      .filter((route) => !present.has(route))
      .map((route) => `route add ${routeText(route, interfaceName)}`),
    ...[...wantedRules].filter((rule) => !presentRules.has(rule)).map((rule) => `rule add ${rule}`),
  ];
}

async function takeBack(interfaceName: string, before: HostNetworks): Promise<void> {
  const plan = { routes: ownRoutes(interfaceName, before), rules: ownRules(before) };
  try {
    await ipBatch(planChanges(interfaceName, plan, await readHost()));
  } catch {
    // The interface itself is gone: its routes are, too.
  }
}

function routeText(route: string, interfaceName: string): string {
  return `${route} dev ${interfaceName} proto ${ROUTE_PROTOCOL}`;
}

function ruleText({ to, priority }: PlannedRule): string {
  return `to ${to} lookup main priority ${priority} protocol ${ROUTE_PROTOCOL}`;
}

function ownRoutes(interfaceName: string, host: HostNetworks): string[] {
  return host.routes
    .filter((route) => route.interfaceName === interfaceName && route.table === 'main')
    .map((route) => formatCidr(route.network));
}

function ownRules(host: HostNetworks): PlannedRule[] {
  return host.rules.flatMap((rule) =>
    rule.own && rule.to !== undefined ? [{ to: formatCidr(rule.to), priority: rule.priority }] : [],
  );
}
