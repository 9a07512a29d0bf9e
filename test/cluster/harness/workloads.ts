/** The workloads: their manifests into the cluster, and waiting until every pod of them is ready. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { kubectl } from './kubectl.js';
import { WORKLOADS_DIR } from './settings.js';
import { until } from './until.js';

const READY_TIMEOUT_MS = 120_000;
const MANIFESTS = path.join(WORKLOADS_DIR, 'manifests');

/** Applies the manifests in the order of their names. */
export async function applyWorkloads(): Promise<void> {
  const files = (await readdir(MANIFESTS)).filter((file) => file.endsWith('.yaml')).sort();
  const named = files.flatMap((file) => ['-f', path.join(MANIFESTS, file)]);
  await until('the workloads to be taken', () => kubectl(['apply', ...named]), {
    timeoutMs: READY_TIMEOUT_MS,
  });
}

/** Returns when every workload has all its pods ready. @throws TIMED_OUT naming those that have not */
export async function workloadsReady(): Promise<void> {
  await until('ready workloads', allReady, { timeoutMs: READY_TIMEOUT_MS, everyMs: 200 });
}

async function allReady(): Promise<boolean> {
  const fields = '{.kind}/{.metadata.name} {.spec.replicas} {.status.readyReplicas}';
  const template = `{range .items[*]}${fields}{"\\n"}{end}`;
  const text = await kubectl(['get', 'deployments,statefulsets', '-A', '-o', `jsonpath=${template}`]);
  const lines = text.trim().split('\n');
  const waiting = lines.filter((line) => {
    const [, wanted, ready = '0'] = line.split(' ');
    return wanted !== ready;
  });
  if (waiting.length > 0) throw new Error(`not ready: ${waiting.join(', ')}`);
  return lines.length > 0;
}
