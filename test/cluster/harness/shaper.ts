/**
 * A slow or broken link between a laptop and the API server. A laptop's cable is plain until it is first shaped; then
 * two TAPs and a program (workloads/programs/shaper) stand between cable and LAN, and connections go on. The settings
 * change while it runs. `unshape` makes the cable plain again.
 *
 *   eth0 [laptop] ── laptop100 ─ laptop100b ─ laptop100n ═ shaper ═ laptop100f ─ lan0 [cz-outside]
 */
import { mkdir, stat } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { text } from 'node:stream/consumers';
import { CzError } from '../../../src/base/errors.js';
import type { Laptop } from './laptop.js';
import { ip } from './namespaces.js';
import { forwarding } from './network.js';
import { background, stopProcess } from './processes.js';
import { inCluster, OUTSIDE } from './settings.js';
import { until } from './until.js';

const START_TIMEOUT_MS = 5000;

/** One direction of a link. What is left out is unlimited, 0 or off. */
export interface LinkSettings {
  readonly bitsPerSecond?: number;
  /** One way. */
  readonly delayMs?: number;
  /** Share of packets lost at random, 0 … 1. */
  readonly loss?: number;
  /** Queue before the rate; default one bandwidth-delay product of a round trip, at least 64 KiB. */
  readonly limitBytes?: number;
  /** Drops everything (but ARP) without a word. */
  readonly cut?: boolean;
  /** Drops TCP and answers each segment with a reset, as a middlebox does that forgot its connections. */
  readonly reset?: boolean;
}

/** Both directions alike, or `up` (from the laptop) and `down` by themselves. */
export type Shape = LinkSettings | { readonly up: LinkSettings; readonly down: LinkSettings };

interface LinkCounters {
  /** Delivered. */
  readonly packets: number;
  readonly bytes: number;
  /** Dropped: by `loss`, by a full queue, by `cut`; answered by `reset`. */
  readonly lost: number;
  readonly full: number;
  readonly cut: number;
  readonly resets: number;
}

export interface ShaperReport {
  readonly up: LinkCounters;
  readonly down: LinkCounters;
}

/** Gives a laptop's link these settings, in place of those before, and returns the counters since it was first shaped. */
export async function shape(laptop: Laptop, wanted: Shape): Promise<ShaperReport> {
  if (laptop.attachment === 'direct') throw new CzError('USAGE', 'a direct post has no link to shape');
  const both = 'up' in wanted ? wanted : { up: wanted, down: wanted };
  if (!(await isShaped(laptop))) await insert(laptop, both);
  return send(laptop, both);
}

/** Makes a laptop's cable plain again; nothing to do on one that is. */
export async function unshape(laptop: Laptop): Promise<void> {
  if (!(await isShaped(laptop))) return;
  const { cable } = laptop;
  await ip(OUTSIDE, [
    `link set ${cable} master lan0`,
    `link set ${cable} type bridge_slave isolated on`,
    `link del ${cable}b`,
  ]);
  await forwarding(OUTSIDE, [cable]);
  await stopProcess(programName(laptop));
}

/** The settings stand before the first frame passes. */
async function insert(
  laptop: Laptop,
  first: { readonly up: LinkSettings; readonly down: LinkSettings },
): Promise<void> {
  const { cable } = laptop;
  await mkdir(inCluster('shapers'), { recursive: true });
  const ends = ['-near', `${cable}n`, '-far', `${cable}f`, '-control', socketPath(laptop)];
  await background(programName(laptop), { net: OUTSIDE }, ['shaper', ...ends]);
  await until('an answering shaper', async () => send(laptop, first), {
    timeoutMs: START_TIMEOUT_MS,
    everyMs: 10,
  });
  await ip(OUTSIDE, [
    `link add ${cable}b type bridge`,
    `link set ${cable}b up`,
    `link set ${cable}n master ${cable}b up`,
    `link set ${cable}f master lan0 up`,
    `link set ${cable}f type bridge_slave isolated on`,
    `link set ${cable} type bridge_slave isolated off`,
    `link set ${cable} master ${cable}b`,
  ]);
  await forwarding(OUTSIDE, [cable, `${cable}n`, `${cable}f`]);
}

async function isShaped({ cable }: Laptop): Promise<boolean> {
  return ip(OUTSIDE, [`link show dev ${cable}b`]).then(
    () => true,
    () => false,
  );
}

async function send(laptop: Laptop, request: object): Promise<ShaperReport> {
  await stat(socketPath(laptop));
  const socket = createConnection(socketPath(laptop));
  socket.write(JSON.stringify(request));
  const report: ShaperReport = JSON.parse(await text(socket));
  return report;
}

function programName({ name }: Laptop): string {
  return `shaper-${name}`;
}

function socketPath({ name }: Laptop): string {
  return inCluster('shapers', `${name}.sock`);
}
