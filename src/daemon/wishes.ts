/**
 * What the user asked for, in the form that the laptop's plan takes: namespaces with their default, host names
 * resolved by the laptop's own resolver before it is changed; and the difference between two such wishes.
 */
import { lookup } from 'node:dns/promises';
import { parseCidr } from '../base/cidr.js';
import { CzError, messageOf } from '../base/errors.js';
import type { ConnectParams } from '../control/schema.js';

const TARGET_HINT = 'name a network such as 10.1.0.0/16, or a host that the laptop can resolve';

/** Wishes of one user. */
export interface Wishes {
  /** Namespaces whose Services answer by their bare name. */
  readonly namespaces: readonly string[];
  readonly alsoRoute: readonly string[];
  readonly neverRoute: readonly string[];
}

/** Returns the wishes; no `-n` means the context's namespace. @throws USAGE a host name that has no address */
export async function resolveWishes(params: ConnectParams, contextNamespace: string): Promise<Wishes> {
  const [alsoRoute, neverRoute] = await Promise.all([
    resolveTargets('--also-route', params.alsoRoute),
    resolveTargets('--never-route', params.neverRoute),
  ]);
  const namespaces = params.namespaces.length > 0 ? [...new Set(params.namespaces)] : [contextNamespace];
  return { namespaces, alsoRoute, neverRoute };
}

/** Returns what differs, a line each, as shown to the user. */
export function changesBetween(before: Wishes, after: Wishes): string[] {
  return [
    ...difference('namespaces', before.namespaces, after.namespaces),
    ...difference('also routed', before.alsoRoute, after.alsoRoute),
    ...difference('never routed', before.neverRoute, after.neverRoute),
  ];
}

function difference(what: string, before: readonly string[], after: readonly string[]): string[] {
  if (before.join() === after.join()) return [];
  const show = (list: readonly string[]) => (list.length === 0 ? 'none' : list.join(', '));
  return [`${what}: ${show(before)} → ${show(after)}`];
}

async function resolveTargets(flag: string, targets: readonly string[]): Promise<string[]> {
  const found = await Promise.all(targets.map((target) => resolveTarget(flag, target)));
  return [...new Set(found.flat())].sort();
}

async function resolveTarget(flag: string, target: string): Promise<string[]> {
  if (parseCidr(target) !== undefined) return [target];
  if (/^[\d./:]+$/.test(target))
    throw new CzError('USAGE', `${flag} "${target}" is no IPv4 network`, { hint: TARGET_HINT });
  try {
    const addresses = await lookup(target, { family: 4, all: true });
    return addresses.map(({ address }) => address);
  } catch (cause) {
    throw new CzError('USAGE', `${flag} "${target}": ${messageOf(cause)}`, {
      cause,
      hint: TARGET_HINT,
    });
  }
}
