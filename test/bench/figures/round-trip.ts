/** Round trips of a small request: idle, beside a bulk transfer, and beside one on a slow long link. */
import type { SuiteLaptop } from '../../cluster/harness/cluster.js';
import { PORTS, type Bench, type Figure, type LoadResult } from '../bench.js';
import type { Measurement } from '../report.js';
import { median } from '../statistics.js';
import { meanwhile } from './iperf3.js';

const ROUNDS = 4;
const SLOW = { bitsPerSecond: 100e6, delayMs: 25 };
const SLOW_ROUND_TRIP_MS = 50;

/** The figures. */
export const roundTrip: readonly Figure[] = [
  { name: 'rtt-idle', seconds: 20, connected: true, measure: idle },
  loaded('rtt-upload', 'round trip beside an upload, p50', []),
  loaded('rtt-download', 'round trip beside a download, p50', ['-R']),
  slow('rtt-slow-upload', '… beside an upload, 100 Mbit/s and 50 ms, p50', []),
  slow('rtt-slow-download', '… beside a download, 100 Mbit/s and 50 ms, p50', ['-R']),
];

async function idle(bench: Bench): Promise<readonly Measurement[]> {
  const pairs: { readonly direct: LoadResult; readonly measured: LoadResult }[] = [];
  for (let round = 0; round < ROUNDS; round += 1)
    pairs.push({
      direct: await trips(bench, bench.direct, 2),
      measured: await trips(bench, bench.laptop, 2),
    });
  const of = (part: 'p50Ms' | 'p99Ms', most: number): Measurement => ({
    what: `round trip added, idle, ${part.slice(0, 3)}`,
    unit: 'ms',
    measured: median(pairs.map(({ direct, measured }) => measured[part] - direct[part])),
    wanted: { of: 'measured', most },
    note: `direct ${median(pairs.map(({ direct }) => direct[part])).toFixed(3)} ms`,
  });
  return [of('p50Ms', 0.4), of('p99Ms', 1.5)];
}

function loaded(name: string, what: string, args: readonly string[]): Figure {
  return {
    name,
    seconds: 16,
    connected: true,
    measure: async (bench) => [
      await besideBulk(bench, { what, args, runs: 3, most: 5, seconds: 3, skip: 1 }),
    ],
  };
}

function slow(name: string, what: string, args: readonly string[]): Figure {
  return {
    name,
    seconds: 20,
    connected: true,
    measure: async (bench) => {
      await bench.laptop.shape(SLOW);
      try {
        const most = SLOW_ROUND_TRIP_MS + 25;
        return [await besideBulk(bench, { what, args, runs: 2, most, seconds: 5, skip: 3 })];
      } finally {
        await bench.laptop.unshape();
      }
    },
  };
}

interface BesideBulk {
  readonly what: string;
  readonly args: readonly string[];
  readonly runs: number;
  readonly most: number;
  readonly seconds: number;
  readonly skip: number;
}

async function besideBulk(bench: Bench, options: BesideBulk): Promise<Measurement> {
  const { what, args, runs, most, seconds, skip } = options;
  const seen = [];
  for (let run = 0; run < runs; run += 1) {
    const bulk = ['-t', `${seconds + skip + 1}`, ...args];
    seen.push(await meanwhile(bench, bulk, () => trips(bench, bench.laptop, seconds, skip)));
  }
  const p99 = median(seen.map(({ result }) => result.p99Ms)).toFixed(1);
  const bulk = median(seen.map((one) => one.gigabits)).toFixed(3);
  return {
    what,
    unit: 'ms',
    measured: median(seen.map(({ result }) => result.p50Ms)),
    wanted: { of: 'measured', most },
    note: `p99 ${p99} ms, bulk ${bulk} Gbit/s`,
  };
}

function trips(bench: Bench, on: SuiteLaptop, seconds: number, skip = 0) {
  const address = `${bench.pod}:${PORTS.echo}`;
  return bench.load(on, 'roundtrip', { address, seconds, more: ['-every', '5ms', '-skip', `${skip}`] });
}
