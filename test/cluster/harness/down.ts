/**
 * Takes the cluster down, also one that a crash left half made: everything is found by its name (namespaces, cgroups) or
 * by where it runs, nothing by what `up` remembered. The machine's own settings come from the record that `up` wrote
 * before it changed them.
 */
import { readdir, rm, rmdir, stat } from 'node:fs/promises';
import { exec } from '../../../src/base/exec.js';
import { cgroupProcesses, removeCgroups } from './cgroups.js';
import { locked } from './lock.js';
import { namespaces } from './namespaces.js';
import { endResidents } from './residents.js';
import { CLUSTER_DIR } from './settings.js';
import { restoreMachine } from './sysctls.js';
import { until } from './until.js';

const END_TIMEOUT_MS = 20_000;

/** Ends the cluster and removes what it left; fine when there is none. */
export async function down(): Promise<void> {
  await locked(clear);
}

/** Returns whether anything of a cluster is there. */
export async function leftovers(): Promise<boolean> {
  const folder = await stat(CLUSTER_DIR).catch(() => undefined);
  return folder !== undefined || (await namespaces()).length > 0 || (await cgroupProcesses()).length > 0;
}

/** What `down` does; for those who hold the lock. */
export async function clear(): Promise<void> {
  await until('the end of the cluster’s processes', endProcesses, { timeoutMs: END_TIMEOUT_MS, everyMs: 50 });
  for (const net of await namespaces()) await exec(['ip', 'netns', 'del', net]);
  await removeCgroups();
  await restoreMachine();
  await rm(CLUSTER_DIR, { recursive: true, force: true });
  await dropNamespaceFolder();
}

async function endProcesses(): Promise<boolean> {
  return endResidents(await namespaces(), await cgroupProcesses());
}

/** `ip netns add` makes /run/netns a mount; it goes when it is empty, as it was not there before the first. */
async function dropNamespaceFolder(): Promise<void> {
  const rest = await readdir('/run/netns').catch(() => undefined);
  if (rest?.length !== 0) return;
  await exec(['umount', '/run/netns'], { okCodes: [0, 32] }); // 32: not mounted
  await rmdir('/run/netns');
}
