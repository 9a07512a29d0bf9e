/**
 * Places to run things in: a named network namespace (`cz-…`, so `ip -n cz-node1 …` works) and, for nodes and laptops,
 * a mount namespace kept by a holder process, so that their mounts vanish with them. Entered by nsenter; `ip netns
 * exec` would remount /sys, and a kubelet then finds no cgroups.
 */
import { readdir } from 'node:fs/promises';
import { exec } from '../../../src/base/exec.js';
import { PREFIX } from './settings.js';

const NAMED = '/run/netns';

/** A place: a network namespace by name and, where it has one, the process whose mount namespace it is. */
export interface Place {
  readonly net: string;
  readonly holder?: number;
}

/** Creates a named network namespace with its loopback up. */
export async function addNamespace(net: string): Promise<void> {
  await exec(['ip', 'netns', 'add', net]);
  await ip(net, ['link set lo up']);
}

/** Returns the names of the cluster's network namespaces. */
export async function namespaces(): Promise<string[]> {
  const names = await readdir(NAMED).catch(() => []);
  return names.filter((name) => name.startsWith(PREFIX));
}

/** Returns the path of a named network namespace. */
export function namespacePath(net: string): string {
  return `${NAMED}/${net}`;
}

/** Runs lines of `ip -batch` in a network namespace; none of them is done in the machine's own. */
export async function ip(net: string, lines: readonly string[]): Promise<void> {
  await exec(['ip', '-n', net, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

/** Returns the argument vector that runs `argv` in a place, in the folder `cwd` as the place sees it. */
export function inside(place: Place, argv: readonly string[], cwd?: string): [string, ...string[]] {
  const mount = place.holder === undefined ? [] : [`--mount=/proc/${place.holder}/ns/mnt`];
  const folder = cwd === undefined ? [] : [`--wdns=${cwd}`];
  return ['nsenter', `--net=${namespacePath(place.net)}`, ...mount, ...folder, '--', ...argv];
}

/** Sets kernel settings of a network namespace (`net.ipv4.ip_forward=1`). */
export async function sysctl(net: string, settings: readonly string[]): Promise<void> {
  await exec(inside({ net }, ['sysctl', '-q', '-w', ...settings]));
}
