/** The processes of places: those in a network namespace of the cluster, and those that share a mount namespace with one. */
import { readdir, readlink, stat } from 'node:fs/promises';
import { codeOf } from '../../../src/base/errors.js';
import { namespacePath } from './namespaces.js';

/** Kills what runs in these network namespaces, and `others`; returns whether there was nothing to kill. */
export async function endResidents(
  nets: readonly string[],
  others: readonly number[] = [],
): Promise<boolean> {
  const found = new Set([...others, ...(await residents(nets))]);
  found.delete(process.pid);
  for (const pid of found) kill(pid);
  return found.size === 0;
}

async function residents(names: readonly string[]): Promise<number[]> {
  const nets = new Set(await Promise.all(names.map(async (net) => inode(namespacePath(net)))));
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

/** A namespace is its inode number; -1 for one that is gone, 0 for a process that is. */
async function inode(file: string): Promise<number> {
  return stat(file).then(
    (facts) => facts.ino,
    () => (file.startsWith('/proc/') ? 0 : -1),
  );
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}
