/** Bulk TCP, each direction, one flow and eight. */
import type { Figure } from '../bench.js';
import { gigabits } from './iperf3.js';

const ROUNDS = 3;
const RUN = ['-t', '2', '-O', '1'];

/** The figures. */
export const tcp: readonly Figure[] = [
  bulk('tcp-up', 'one TCP flow laptop → pod', [], 0.3),
  bulk('tcp-down', 'one TCP flow pod → laptop', ['-R'], 0.3),
  bulk('tcp8-up', 'eight flows laptop → pod', ['-P', '8'], 0.4),
  bulk('tcp8-down', 'eight flows pod → laptop', ['-P', '8', '-R'], 0.4),
];

function bulk(name: string, what: string, args: readonly string[], least: number): Figure {
  return {
    name,
    seconds: 20,
    connected: true,
    measure: async (bench) => {
      const seen = await bench.compare(ROUNDS, (on) => gigabits(bench, on, [...RUN, ...args]));
      return [{ what, unit: 'Gbit/s', ...seen, wanted: { of: 'ratio', least } }];
    },
  };
}
