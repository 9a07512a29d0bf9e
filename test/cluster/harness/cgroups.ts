/**
 * A cgroup per node, in every hierarchy of the machine (v1), or the one (v2): what runs in a node's pods is below it.
 * It is also how teardown finds the processes of pods.
 */
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { codeOf } from '../../../src/base/errors.js';
import { PREFIX } from './settings.js';
import { until } from './until.js';

const ROOT = '/sys/fs/cgroup';
/** What the kubelet wants handed down on v2, of what the machine has (kubelet: getSupportedUnifiedControllers), and io. */
const V2_CONTROLLERS = ['cpu', 'cpuset', 'memory', 'hugetlb', 'pids', 'io'];

/** Makes the cgroup `name` in every hierarchy. */
export async function addCgroup(name: string): Promise<void> {
  for (const hierarchy of await hierarchies()) {
    const folder = path.join(hierarchy, name);
    await mkdir(folder, { recursive: true });
    await inherit(hierarchy, folder);
  }
}

/** Returns the ids of all processes below the cluster's cgroups. */
export async function cgroupProcesses(): Promise<number[]> {
  const ids = await Promise.all((await folders()).map(processesBelow));
  return [...new Set(ids.flat())];
}

/** Removes the cluster's cgroups; their processes must have ended. */
export async function removeCgroups(): Promise<void> {
  for (const folder of await folders())
    await until(`removing ${folder}`, () => removeTree(folder).then(() => true), { timeoutMs: 10_000 });
}

/** cpuset (v1) starts empty and takes no process until it is filled; v2 hands a controller down only when told. */
async function inherit(hierarchy: string, folder: string): Promise<void> {
  if (hierarchy === ROOT) {
    const there = (await readFile(path.join(ROOT, 'cgroup.controllers'), 'utf8')).trim().split(' ');
    const wanted = V2_CONTROLLERS.filter((name) => there.includes(name)).map((name) => `+${name}`);
    for (const from of [ROOT, folder])
      await writeFile(path.join(from, 'cgroup.subtree_control'), wanted.join(' '));
    return;
  }
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    const value = await readFile(path.join(hierarchy, file), 'utf8').catch(() => undefined);
    if (value !== undefined) await writeFile(path.join(folder, file), value);
  }
}

/**
 * Returns the mount points of the hierarchies: the root itself on v2, a folder a controller on v1 (links are doubles),
 * where `unified` is a v2 hierarchy without controllers, in which containers appear by themselves.
 */
async function hierarchies(): Promise<string[]> {
  const entries = await readdir(ROOT, { withFileTypes: true });
  if (entries.some((entry) => entry.name === 'cgroup.controllers')) return [ROOT];
  return entries.filter((entry) => entry.isDirectory()).map((entry) => path.join(ROOT, entry.name));
}

async function folders(): Promise<string[]> {
  const all = await Promise.all(
    (await hierarchies()).map(async (hierarchy) => {
      const entries = await readdir(hierarchy, { withFileTypes: true });
      return entries
        .filter((entry) => entry.isDirectory() && entry.name.startsWith(PREFIX))
        .map((entry) => path.join(hierarchy, entry.name));
    }),
  );
  return all.flat();
}

async function processesBelow(folder: string): Promise<number[]> {
  const own = await readFile(path.join(folder, 'cgroup.procs'), 'utf8').catch(() => '');
  const below = await Promise.all((await children(folder)).map(processesBelow));
  return [...own.split('\n').filter(Boolean).map(Number), ...below.flat()];
}

async function removeTree(folder: string): Promise<void> {
  for (const child of await children(folder)) await removeTree(child);
  await rmdir(folder).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error;
  });
}

async function children(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => path.join(folder, entry.name));
}
