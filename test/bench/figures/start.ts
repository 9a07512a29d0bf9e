/** How long it takes: to connect, to install and connect, to say something. */
import { performance } from 'node:perf_hooks';
import { VERSION } from '../../../src/base/version.js';
import { PROGRAM, cz, succeeded } from '../../cluster/suites/support.js';
import type { Bench, Figure } from '../bench.js';
import type { Measurement } from '../report.js';
import { median } from '../statistics.js';

const CONNECTS = 5;
const COMMANDS = 7;

/** The figure of `cz connect`, and those of commands that change nothing. */
export const start: readonly Figure[] = [
  { name: 'connect', seconds: 10, connected: false, measure: connect },
  { name: 'commands', seconds: 5, connected: true, measure: commands },
];

/** Takes the manager away and puts it back: every session of the cluster ends. */
export const install: readonly Figure[] = [
  { name: 'install', seconds: 20, connected: false, measure: installAndConnect },
];

async function connect(bench: Bench): Promise<readonly Measurement[]> {
  const took = [];
  const answered = [];
  for (let round = 0; round < CONNECTS; round += 1) {
    succeeded(await cz(bench.laptop, ['disconnect']));
    const startedAt = performance.now();
    succeeded(await cz(bench.laptop, ['connect', '-n', 'shop']));
    took.push(secondsSince(startedAt));
    await bench.laptop.run([
      'curl',
      '-sSf',
      '--retry',
      '20',
      '--retry-all-errors',
      '--retry-delay',
      '0',
      'http://web.shop',
    ]);
    answered.push(secondsSince(startedAt));
  }
  const note = `connect alone ${median(took).toFixed(2)} s`;
  return [
    {
      what: 'cz connect, until the first curl by name answers',
      unit: 's',
      measured: median(answered),
      wanted: { of: 'measured', most: 1 },
      note,
    },
  ];
}

async function installAndConnect(bench: Bench): Promise<readonly Measurement[]> {
  const kubeconfig = bench.cluster.kubeconfig;
  succeeded(await cz(bench.laptop, ['disconnect']));
  succeeded(await cz(bench.laptop, ['uninstall'], { kubeconfig }));
  const startedAt = performance.now();
  const argv = ['connect', '-n', 'shop', '--install', '--image', `cz-manager:${VERSION}`];
  succeeded(await cz(bench.laptop, argv, { kubeconfig }));
  const measured = secondsSince(startedAt);
  succeeded(await cz(bench.laptop, ['disconnect']));
  return [
    {
      what: 'cz connect --install, image on the node',
      unit: 's',
      measured,
      wanted: { of: 'measured', most: 10 },
    },
  ];
}

async function commands(bench: Bench): Promise<readonly Measurement[]> {
  const time = async (argument: string, most: number): Promise<Measurement> => {
    const took = [];
    for (let run = 0; run < COMMANDS; run += 1) {
      const startedAt = performance.now();
      await bench.laptop.run([process.execPath, PROGRAM, argument]);
      took.push(secondsSince(startedAt));
    }
    return { what: `cz ${argument}`, unit: 's', measured: median(took), wanted: { of: 'measured', most } };
  };
  return [await time('--help', 0.15), await time('status', 0.2)];
}

function secondsSince(startedAt: number): number {
  return (performance.now() - startedAt) / 1000;
}
