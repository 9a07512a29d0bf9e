/**
 * The manager seen from its node: what it has allocated in its pod's network namespace, and its memory. Only on the
 * tests' own cluster.
 */
import { readdir, readFile } from 'node:fs/promises';
import { exec } from '../../../src/base/exec.js';
import type { Cluster } from '../harness/cluster.js';
import { field, MANAGER } from './support.js';

/** A process in a pod of the tests' own cluster. */
export interface Inside {
  readonly pid: number;
  /** Runs a program of the machine in the pod's network. */
  run(argv: readonly string[]): Promise<string>;
}

/** Returns the process of a pod whose command line matches. */
export async function insidePod(cluster: Cluster, pod: string, program: RegExp): Promise<Inside> {
  const uid = await field(cluster, `pod ${pod}`, '{.metadata.uid}');
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const read = (file: string) => readFile(`/proc/${entry}/${file}`, 'utf8').catch(() => '');
    if (!(await read('cgroup')).includes(`pod${uid}`) || !program.test(await read('cmdline'))) continue;
    const enter = ['nsenter', `--net=/proc/${entry}/ns/net`, '--'] as const;
    return { pid: Number(entry), run: async (argv) => (await exec([...enter, ...argv])).stdout };
  }
  throw new Error(`no process of pod ${pod} matches ${program.source}`);
}

export function insideManager(cluster: Cluster): Promise<Inside> {
  return insidePod(cluster, `${MANAGER.pod} -n ${MANAGER.namespace}`, /manager\.js/);
}

/** Returns the sessions that the manager's kernel forwards for: `cz3 192.0.2.1`. */
export async function forwardedSessions(manager: Inside): Promise<string[]> {
  const { nftables }: { nftables: readonly { readonly set?: { readonly elem?: readonly Element[] } }[] } =
    JSON.parse(await manager.run(['nft', '-j', 'list', 'set', 'inet', 'cz', 'sources']));
  return nftables.flatMap(({ set }) => set?.elem ?? []).map(({ concat }) => concat.join(' '));
}

interface Element {
  readonly concat: readonly string[];
}

/** Returns the names of the manager's tunnel interfaces. */
export async function tunnelInterfaces(manager: Inside): Promise<string[]> {
  const links: readonly { readonly ifname: string }[] = JSON.parse(await manager.run(['ip', '-j', 'link']));
  return links.map(({ ifname }) => ifname).filter((name) => name.startsWith('cz'));
}

/** Returns the resident memory of a process in bytes. proc(5) */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
