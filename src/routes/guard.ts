/**
 * Shuts the laptop against the cluster: nothing that comes in by cz's interface opens a connection to the laptop or
 * through it, and of what others send through the laptop only its containers and virtual machines get into the
 * tunnel. A second lock beside the TUN's own filter, so a laptop without nftables goes without. nft(8).
 */
import { CzError, hasCode } from '../base/errors.js';
import { exec } from '../base/exec.js';

/**
 * The undo of the guard, as an action for the journal; `env` gives 127 where there is no nft, and nft gives 1 where the
 * kernel has none: there was no guard then.
 */
export const GUARD_UNDO = {
  kind: 'run',
  argv: ['env', 'nft', 'add table inet cz; delete table inet cz'],
  okCodes: [0, 1, 127],
} as const;

/**
 * Puts the guard up for the interface, in place of one of before. Returns whether there is one: false on a laptop
 * without nft or a kernel without what it needs. GUARD_UNDO must be in the journal before.
 * @throws INTERFACE_FAILED for a name that no interface has
 */
export async function guardInterface(name: string): Promise<boolean> {
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(name))
    throw new CzError('INTERFACE_FAILED', `"${name}" is no interface`);
  for (const ruleset of [formatGuard(name, CONTAINERS_ONLY), formatGuard(name, '')])
    if (await load(ruleset)) return true;
  return false;
}

async function load(ruleset: string): Promise<boolean> {
  try {
    await exec(['nft', '-f', '-'], { input: ruleset });
    return true;
  } catch (error) {
    if (hasCode(error, 'EXEC_FAILED') || hasCode(error, 'EXEC_MISSING')) return false;
    throw error;
  }
}

/** Matches senders that are no bridge or veth, which is what containers and virtual machines come by. Linux 5.1. */
const CONTAINERS_ONLY = 'meta iifkind != { "bridge", "veth" } ';

/**
 * Returns the guard's rules. They stand before those of others (priority -10) and only ever drop: what they accept,
 * a firewall of the laptop's own still judges.
 */
export function formatGuard(name: string, outsiders: string): string {
  const fromOutsiders = outsiders === '' ? '' : `\n    oifname "${name}" ${outsiders}drop`;
  return `table inet cz
delete table inet cz
table inet cz {
  chain input {
    type filter hook input priority filter - 10; policy accept;
    iifname "${name}" ct state established,related accept
    iifname "${name}" drop
  }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    iifname "${name}" ct state established,related accept
    iifname "${name}" drop${fromOutsiders}
  }
}
`;
}
