/**
 * Takes the cluster down, also one that a crash left half made: everything is found by its name (namespaces, cgroups) or
 * by where it runs, nothing by what `up` remembered. The machine's own settings come from the record that `up` wrote
 * before it changed them.
 */
import { readdir, readlink, rm, rmdir, stat } from 'node:fs/promises';
import { codeOf } from '../../../src/base/errors.js';
import { exec } from '../../../src/base/exec.js';
import { cgroupProcesses, removeCgroups } from './cgroups.js';
import { locked } from './lock.js';
import { namespacePath, namespaces } from './namespaces.js';
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

/** Kills what still runs, and returns whether nothing did. */
async function endProcesses(): Promise<boolean> {
  const found = new Set([...(await cgroupProcesses()), ...(await residents())]);
  found.delete(process.pid);
  for (const pid of found) kill(pid);
  return found.size === 0;
}

/** Returns the processes in the cluster's network namespaces, and those that share a mount namespace with one of them. */
async function residents(): Promise<number[]> {
  const nets = new Set(await Promise.all((await namespaces()).map(async (net) => inode(namespacePath(net)))));
  const own = await readlink('/proc/self/ns/mnt');
  const all = await Promise.all((await processIds()).map(describe));
  const inNet = all.filter((one) => nets.has(one.net));
  const mounts = new Set(inNet.map((one) => one.mount).filter((mount) => mount !== own && mount !== ''));
  return all.filter((one) => nets.has(one.net) || mounts.has(one.mount)).map((one) => one.pid);
}

interface Resident {
  readonly pid: number;
  readonly net: number;
  readonly mount: string;
}

async function describe(pid: number): Promise<Resident> {
  const net = await inode(`/proc/${pid}/ns/net`);
  const mount = await readlink(`/proc/${pid}/ns/mnt`).catch(() => '');
  return { pid, net, mount };
}

async function processIds(): Promise<number[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** A namespace is its inode number; 0 for a process that is gone. */
async function inode(file: string): Promise<number> {
  return stat(file).then(
    (facts) => facts.ino,
    () => 0,
  );
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

/** `ip netns add` makes /run/netns a mount; it goes when it is empty, as it was not there before the first. */
async function dropNamespaceFolder(): Promise<void> {
  const rest = await readdir('/run/netns').catch(() => undefined);
  if (rest?.length !== 0) return;
  await exec(['umount', '/run/netns'], { okCodes: [0, 32] }); // 32: not mounted
  await rmdir('/run/netns');
}
