/** Resident memory: the manager with and without sessions, the daemon after all the rest. */
import { readFile } from 'node:fs/promises';
import { cz, connected, MANAGER } from '../../cluster/suites/support.js';
import type { Bench, Figure } from '../bench.js';
import type { Measurement } from '../report.js';

const FURTHER = 5;
const READ_STATUS = 'process.stdout.write(require("node:fs").readFileSync("/proc/1/status","latin1"))';

/** The manager's, before the rest. */
export const managerMemory: readonly Figure[] = [
  { name: 'memory-manager', seconds: 30, connected: false, measure: manager },
];

/** The daemon's, after the rest. */
export const daemonMemory: readonly Figure[] = [
  { name: 'memory-daemon', seconds: 1, connected: true, measure: daemon },
];

async function manager(bench: Bench): Promise<readonly Measurement[]> {
  const idle = await managerMegabytes(bench);
  await bench.connect();
  const one = await managerMegabytes(bench);
  const all = await withFurther(bench, () => managerMegabytes(bench));
  await cz(bench.laptop, ['disconnect']);
  const of = (what: string, measured: number, most: number): Measurement => ({
    what,
    unit: 'MB',
    measured,
    wanted: { of: 'measured', most },
  });
  return [
    of('memory of the manager, idle', idle, 90),
    of('memory of the manager, per further session', (all - one) / FURTHER, 3),
  ];
}

async function withFurther<T>(bench: Bench, look: () => Promise<T>): Promise<T> {
  const laptops = [];
  try {
    for (let number = 1; number <= FURTHER; number += 1) {
      const laptop = await bench.cluster.laptop(`bench-further-${number}`);
      laptops.push(laptop);
      await connected(laptop, '-n', 'shop');
    }
    return await look();
  } finally {
    for (const laptop of laptops) {
      await cz(laptop, ['disconnect']);
      await laptop.close();
    }
  }
}

async function daemon(bench: Bench): Promise<readonly Measurement[]> {
  const { daemon: running } = await bench.connect();
  const measured = residentMegabytes(await readFile(`/proc/${running?.pid ?? 0}/status`, 'latin1'));
  return [
    {
      what: 'memory of the daemon, after all the rest',
      unit: 'MB',
      measured,
      wanted: { of: 'measured', most: 100 },
    },
  ];
}

async function managerMegabytes({ cluster }: Bench): Promise<number> {
  const argv = ['exec', '-n', MANAGER.namespace, MANAGER.pod, '--', '/usr/bin/node', '-e', READ_STATUS];
  return residentMegabytes(await cluster.kubectl(argv));
}

function residentMegabytes(processStatus: string): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(processStatus)?.[1] ?? Number.NaN) / 1024;
}
