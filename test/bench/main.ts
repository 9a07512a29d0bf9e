/**
 * `npm run bench [-- FIGURE…] [--json FILE]`: brings the cluster up if none is, installs the manager of this source,
 * connects a laptop, and measures each figure against a direct path to the same pod in the same minute.
 * A FIGURE is the beginning of a figure's name. Exit code 1: a figure missed what is wanted of it, or was not measured.
 */
import { writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/base/errors.js';
import { openCluster } from '../cluster/harness/cluster.js';
import { up } from '../cluster/harness/up.js';
import { ensureManager } from '../cluster/suites/support.js';
import { Bench, type Figure } from './bench.js';
import { dns } from './figures/dns.js';
import { http } from './figures/http.js';
import { daemonMemory, managerMemory } from './figures/memory.js';
import { roundTrip } from './figures/round-trip.js';
import { install, start } from './figures/start.js';
import { tcp } from './figures/tcp.js';
import { udp } from './figures/udp.js';
import { formatTable, judged, type Line } from './report.js';

/** In this order: the manager's memory is looked at when it is fresh, the daemon's when it has done everything. */
const FIGURES = [install, managerMemory, start, tcp, roundTrip, http, udp, dns, daemonMemory].flat();

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'string' } },
  });
  const figures = chosen(positionals);
  await up();
  const cluster = await openCluster({});
  await ensureManager(cluster);
  const bench = await Bench.open(cluster);
  const lines: Line[] = [];
  try {
    for (const figure of figures) lines.push(...(await measured(bench, figure)));
  } finally {
    await bench.close();
  }
  console.log(formatTable(lines));
  if (values.json !== undefined) await writeFile(values.json, formatJson(lines));
  process.exitCode = lines.every(({ ok }) => ok) ? 0 : 1;
}

function chosen(names: readonly string[]): readonly Figure[] {
  const figures = FIGURES.filter(
    ({ name }) => names.length === 0 || names.some((start) => name.startsWith(start)),
  );
  if (figures.length > 0) return figures;
  throw new Error(`no such figure; there are: ${FIGURES.map(({ name }) => name).join(' ')}`);
}

async function measured(bench: Bench, figure: Figure): Promise<readonly Line[]> {
  const load = loadavg()[0]?.toFixed(1);
  console.error(`bench: ${figure.name}, about ${figure.seconds} s (load before ${load})`);
  try {
    if (figure.connected) await bench.connect();
    return (await figure.measure(bench)).map((measurement) => judged(figure.name, measurement));
  } catch (error) {
    return [{ figure: figure.name, ok: false, error: lastLine(error) }];
  }
}

/** Of a long message what matters stands at the end: before it is the command that failed. */
function lastLine(error: unknown): string {
  return messageOf(error).trim().replaceAll(/\s+/g, ' ').slice(-120);
}

function formatJson(lines: readonly Line[]): string {
  const machine = { processors: cpus().length, model: cpus()[0]?.model ?? 'unknown', node: process.version };
  return `${JSON.stringify({ machine, lines }, undefined, 2)}\n`;
}

await main().catch((error: unknown) => {
  console.error(`bench: error: ${messageOf(error)}`);
  process.exitCode = 1;
});
