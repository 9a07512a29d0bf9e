/** Questions to cz's DNS server on the laptop, answered from its cache. */
import type { Figure } from '../bench.js';
import { median } from '../statistics.js';

const RUNS = 3;

/** The figure. */
export const dns: readonly Figure[] = [
  {
    name: 'dns',
    seconds: 10,
    connected: true,
    measure: async (bench) => {
      const { dns: server } = await bench.connect();
      const options = { address: `${server?.server ?? ''}:53`, seconds: 2, atOnce: 16 };
      const seen = [];
      for (let run = 0; run < RUNS; run += 1)
        seen.push(
          await bench.load(bench.laptop, 'dns', { ...options, more: ['-name', 'web.shop', '-skip', '0.5'] }),
        );
      return [
        {
          what: 'DNS queries from the cache, 16 at a time',
          unit: '/s',
          measured: median(seen.map((one) => one.perSecond)),
          wanted: { of: 'measured', least: 30_000 },
        },
        {
          what: '… p99',
          unit: 'ms',
          measured: median(seen.map((one) => one.p99Ms)),
          wanted: { of: 'measured', most: 2 },
        },
      ];
    },
  },
];
