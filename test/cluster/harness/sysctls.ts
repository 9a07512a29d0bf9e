/**
 * The few kernel settings of the machine itself that a node needs or a kubelet sets: kept before, put back after. New
 * namespaces (pods too) copy their IPv4 settings from the machine's own, so forwarding must be on there before the first pod.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { readRecord, writeRecord } from './records.js';
import { inCluster } from './settings.js';

const FORWARDING = 'net/ipv4/ip_forward';
/** ip_forward flips the second (kernel: inet_forward_change); the kubelet writes the others. */
const KEPT = [
  FORWARDING,
  'net/ipv4/conf/all/accept_redirects',
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
];

type Values = Readonly<Record<string, string>>;

/** Remembers the machine's settings in the cluster's folder, then switches forwarding on. */
export async function prepareMachine(): Promise<void> {
  const values: Record<string, string> = {};
  for (const name of KEPT) {
    const value = await readFile(procPath(name), 'utf8').catch(() => undefined);
    if (value !== undefined) values[name] = value.trim();
  }
  await writeRecord(record(), values);
  await writeFile(procPath(FORWARDING), '1');
}

/** Puts the remembered settings back; nothing to do where none are remembered. */
export async function restoreMachine(): Promise<void> {
  for (const [name, value] of Object.entries((await readRecord<Values>(record())) ?? {})) {
    const now = await readFile(procPath(name), 'utf8');
    if (now.trim() !== value) await writeFile(procPath(name), value);
  }
}

function procPath(name: string): string {
  return `/proc/sys/${name}`;
}

function record(): string {
  return inCluster('sysctls.json');
}
