/**
 * Two network namespaces joined by nothing but two TUNs, whose records this process carries across: the whole data
 * path without a wire. Runs inside a namespace of its own (`unshare -n -m`), which is the laptop; the other is a child.
 */
import { readlinkSync } from 'node:fs';
import { exec, start } from '../../../src/base/exec.js';
import type { TunDevice } from '../../../src/tun/device.js';
import { openTun } from '../../../src/tun/linux.js';

export const LAPTOP_ADDRESS = '198.18.0.1';
export const CLUSTER_ADDRESS = '10.99.0.1';
export const MTU = 1500;
const ARENA_BYTES = 256 * 1024;

export interface Pair {
  readonly laptop: TunDevice;
  readonly manager: TunDevice;
  /** Returns the argument vector that runs a program in the cluster's namespace. */
  inCluster(...argv: string[]): [string, ...string[]];
  close(): void;
}

export interface PairOptions {
  /** Carries what one end reads to the other; default: at once. */
  readonly join?: (from: TunDevice, to: TunDevice) => void;
  readonly queueBytes?: number;
}

/** Opens both TUNs, configured and joined. */
export async function openPair({ join = carry, ...queue }: PairOptions = {}): Promise<Pair> {
  // It dies with this process, however that ends.
  const holder = ['unshare', '-n', 'sleep', 'infinity'];
  const cluster = start(['setpriv', '--pdeathsig', 'KILL', ...holder], { stdio: 'ignore' });
  const pid = String(cluster.pid);
  await until(() => namespaceOf(pid) !== namespaceOf('self'));
  const inCluster = (...argv: string[]): [string, ...string[]] => [
    'nsenter',
    `--net=/proc/${pid}/ns/net`,
    ...argv,
  ];
  const laptop = openTun({ name: 'cz%d', ...queue });
  const manager = openTun({ name: 'far%d', ...queue });
  await exec(['ip', 'link', 'set', manager.name, 'netns', pid]);
  await configure([], laptop.name, LAPTOP_ADDRESS, '10.99.0.0/16');
  await configure(inCluster(), manager.name, CLUSTER_ADDRESS, LAPTOP_ADDRESS);
  laptop.setSession({ side: 'laptop', address: LAPTOP_ADDRESS });
  manager.setSession({ side: 'manager', address: LAPTOP_ADDRESS });
  join(laptop, manager);
  join(manager, laptop);
  const close = () => {
    laptop.close();
    manager.close();
    cluster.kill('SIGKILL');
  };
  return { laptop, manager, inCluster, close };
}

/** Copies records from one to the other whenever some wait. */
function carry(from: TunDevice, to: TunDevice): void {
  const arena = Buffer.allocUnsafeSlow(ARENA_BYTES);
  from.setReadable(() => {
    for (let bytes = from.take(arena, 0); bytes > 0; bytes = from.take(arena, 0))
      to.write(arena.subarray(0, bytes));
  });
}

async function configure(prefix: string[], name: string, address: string, route: string): Promise<void> {
  await exec([...prefix, 'ip', 'link', 'set', 'lo', 'up']);
  await exec([...prefix, 'ip', 'address', 'add', `${address}/32`, 'dev', name]);
  await exec([...prefix, 'ip', 'link', 'set', name, 'mtu', String(MTU), 'up']);
  await exec([...prefix, 'ip', 'route', 'add', route, 'dev', name]);
}

function namespaceOf(pid: string): string {
  return readlinkSync(`/proc/${pid}/ns/net`);
}

/** Resolves when the condition holds. Rejects after `timeoutMs`. */
export async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
