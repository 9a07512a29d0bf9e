/** UDP: the most datagrams of 1200 bytes a second that arrive with hardly a loss. */
import type { SuiteLaptop } from '../../cluster/harness/cluster.js';
import type { Bench, Figure } from '../bench.js';
import { datagrams } from './iperf3.js';

const LOST_MOST = 0.001;
const ROUNDS = 2;
const STEPS = 7;
const RUN_SECONDS = 1;
/** Where the search lies, in bits per second. */
const [LOWEST, HIGHEST] = [20e6, 4e9];

/** The figure. */
export const udp: readonly Figure[] = [
  {
    name: 'udp',
    seconds: 60,
    connected: true,
    measure: async (bench) => {
      const seen = await bench.compare(ROUNDS, (on) => search(bench, on));
      return [
        {
          what: 'UDP datagrams of 1200 bytes, ≤ 0.1 % lost',
          unit: '/s',
          ...seen,
          wanted: { of: 'ratio', least: 0.2 },
        },
      ];
    },
  },
];

/** Halves the interval, in equal factors. */
async function search(bench: Bench, on: SuiteLaptop): Promise<number> {
  let [low, high, best] = [LOWEST, HIGHEST, 0];
  for (let step = 0; step < STEPS; step += 1) {
    const rate = Math.sqrt(low * high);
    const arrived = await arriving(bench, on, rate);
    if (arrived === undefined) high = rate;
    else [low, best] = [rate, Math.max(best, arrived)];
  }
  return best;
}

/** Returns what arrives of a rate that the path bears, in one of two tries: the machine may have been busy in one. */
async function arriving(bench: Bench, on: SuiteLaptop, rate: number): Promise<number | undefined> {
  for (const _ of ['first', 'second']) {
    const { perSecond, lostPart } = await datagrams(bench, on, rate, RUN_SECONDS);
    if (lostPart <= LOST_MOST) return perSecond;
  }
  return undefined;
}
