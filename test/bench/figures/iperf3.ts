/** iperf3, and what of its report counts. */
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import type { SuiteLaptop } from '../../cluster/harness/cluster.js';
import { PORTS, type Bench } from '../bench.js';

interface Report {
  readonly error?: string;
  readonly end?: {
    readonly sum_received?: { readonly bits_per_second?: number };
    readonly sum?: { readonly packets?: number; readonly lost_packets?: number; readonly seconds?: number };
  };
}

/** Returns the Gbit/s that arrived. */
export async function gigabits(bench: Bench, on: SuiteLaptop, args: readonly string[]): Promise<number> {
  return received(await run(bench, on, args));
}

/** Runs iperf3 while `work` goes on, and returns what both gave. */
export async function meanwhile<T>(
  bench: Bench,
  args: readonly string[],
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly gigabits: number }> {
  const child = bench.laptop.spawn(argv(bench, args), { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  const said = child.stdout === null ? Promise.resolve('{}') : text(child.stdout);
  try {
    const result = await work();
    return { result, gigabits: received(JSON.parse(await said)) };
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

/** Sends datagrams at a rate and returns how many a second arrived, and which part did not. */
export async function datagrams(bench: Bench, on: SuiteLaptop, bitsPerSecond: number, seconds: number) {
  const args = ['-u', '-l', '1200', '-b', `${Math.round(bitsPerSecond)}`, '-t', `${seconds}`];
  const {
    packets = 0,
    lost_packets: lost = 0,
    seconds: took = 1,
  } = (await run(bench, on, args)).end?.sum ?? {};
  return { perSecond: (packets - lost) / took, lostPart: packets === 0 ? 1 : lost / packets };
}

async function run(bench: Bench, on: SuiteLaptop, args: readonly string[]): Promise<Report> {
  const { stdout } = await on.run(argv(bench, args), { timeoutMs: 40_000 });
  const report: Report = JSON.parse(stdout);
  return report;
}

function argv(bench: Bench, args: readonly string[]): readonly string[] {
  return ['iperf3', '-c', bench.pod, '-p', `${PORTS.iperf3}`, '-J', ...args];
}

function received(report: Report): number {
  const bits = report.end?.sum_received?.bits_per_second;
  if (bits === undefined) throw new Error(`iperf3: ${report.error ?? 'no result'}`);
  return bits / 1e9;
}
