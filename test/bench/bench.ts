/**
 * What each figure works with: the laptop that cz connects, a post with a direct path to the same pod, the pod itself,
 * and the programs that make load. The pod is the bench's own, so that nothing else talks to it.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Status } from '../../src/control/schema.js';
import { buildPrograms } from '../cluster/harness/build.js';
import type { Cluster, SuiteLaptop } from '../cluster/harness/cluster.js';
import { until } from '../cluster/harness/until.js';
import { connected, cz, status } from '../cluster/suites/support.js';
import type { Measurement } from './report.js';
import { median } from './statistics.js';

const MANIFEST = fileURLToPath(new URL('pod.yaml', import.meta.url));
const NAMESPACE = 'cz-bench';
const POD_READY = { timeoutMs: 60_000, everyMs: 200 };

/** Ports of the pod. */
export const PORTS = { web: 8080, echo: 7007, iperf3: 5201 } as const;

/** One line of the report, or several. */
export interface Figure {
  readonly name: string;
  /** About how long it takes, in seconds. */
  readonly seconds: number;
  /** Whether the laptop is connected before it. */
  readonly connected: boolean;
  measure(bench: Bench): Promise<readonly Measurement[]>;
}

export class Bench {
  readonly cluster: Cluster;
  readonly laptop: SuiteLaptop;
  readonly direct: SuiteLaptop;
  /** The pod's address. */
  readonly pod: string;
  readonly #load: string;

  private constructor(options: {
    readonly cluster: Cluster;
    readonly laptop: SuiteLaptop;
    readonly direct: SuiteLaptop;
    readonly pod: string;
    readonly load: string;
  }) {
    this.cluster = options.cluster;
    this.laptop = options.laptop;
    this.direct = options.direct;
    this.pod = options.pod;
    this.#load = options.load;
  }

  /** Makes laptop, post and pod; `close` removes them. */
  static async open(cluster: Cluster): Promise<Bench> {
    const folder = (await buildPrograms()).find((one) => path.basename(one).startsWith('load-'));
    await removeLaptops(cluster);
    const laptop = await cluster.laptop('bench-member');
    const direct = await cluster.laptop('bench-direct', 'direct');
    await cluster.kubectl(['apply', '-f', MANIFEST]);
    const pod = await until('the pod to measure', () => readyPod(cluster), POD_READY);
    return new Bench({ cluster, laptop, direct, pod, load: path.join(folder ?? '', 'load') });
  }

  async close(): Promise<void> {
    await cz(this.laptop, ['disconnect']);
    await removeLaptops(this.cluster);
    await this.cluster.kubectl(['delete', '-f', MANIFEST, '--wait=false', '--ignore-not-found']);
  }

  /** Connects the laptop, unless it is. */
  async connect(): Promise<Status> {
    const now = await status(this.laptop);
    return now.state === 'connected' ? now : connected(this.laptop, '-n', 'shop');
  }

  /** Runs the load program. @throws EXEC_FAILED with what it said */
  async load(on: SuiteLaptop, kind: string, options: LoadOptions): Promise<LoadResult> {
    const { address, seconds, atOnce = 1, more = [] } = options;
    const argv = ['-address', address, '-seconds', `${seconds}`, '-at-once', `${atOnce}`, ...more];
    const { stdout } = await on.run([this.#load, kind, ...argv], { timeoutMs: seconds * 1000 + 30_000 });
    const result: LoadResult = JSON.parse(stdout);
    return result;
  }

  /** Measures by the direct path and by cz in turn, and returns the medians and the median of the pairs' ratios. */
  async compare(rounds: number, measure: (on: SuiteLaptop) => Promise<number>): Promise<Comparison> {
    const pairs: { readonly direct: number; readonly measured: number }[] = [];
    for (let round = 0; round < rounds; round += 1)
      pairs.push({ direct: await measure(this.direct), measured: await measure(this.laptop) });
    return {
      direct: median(pairs.map((pair) => pair.direct)),
      measured: median(pairs.map((pair) => pair.measured)),
      ratio: median(pairs.map((pair) => pair.measured / pair.direct)),
    };
  }
}

interface LoadOptions {
  readonly address: string;
  readonly seconds: number;
  readonly atOnce?: number;
  readonly more?: readonly string[];
}

export interface LoadResult {
  readonly count: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

interface Comparison {
  readonly direct: number;
  readonly measured: number;
  readonly ratio: number;
}

async function removeLaptops(cluster: Cluster): Promise<void> {
  for (const name of ['bench-member', 'bench-direct']) await (await cluster.laptop(name)).close();
}

async function readyPod(cluster: Cluster): Promise<string | undefined> {
  const jsonPath = '{.status.podIP} {.status.conditions[?(@.type=="Ready")].status}';
  const text = await cluster.kubectl(['get', 'pod', 'target', '-n', NAMESPACE, '-o', `jsonpath=${jsonPath}`]);
  const [address, ready] = text.split(' ');
  return ready === 'True' ? address : undefined;
}
