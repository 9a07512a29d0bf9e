/**
 * `cz doctor`: what is wrong on the laptop, on the way, in the cluster, each with its next step; `--fix` mends what is
 * the laptop's.
 */
import { EXIT, CzError, hasCode, messageOf } from '../base/errors.js';
import { findInvoker } from '../base/invoker.js';
import type { DoctorResult, Finding } from '../control/schema.js';
import { LAPTOP_CHECKS, type Check, type Laptop } from './checks.js';
import type { CommandContext } from './command.js';
import { findDaemon } from './daemon.js';
import { DEFAULT_MANAGER_NAMESPACE } from './defaults.js';
import { runAsRoot } from './elevate.js';
import { printAnswer } from './output.js';
import { printable, type Paint, type Ui } from './ui.js';

/** The daemon looks up a name through the tunnel; a resolver that hangs is found by this. */
const DAEMON_TIMEOUT_MS = 15_000;

/** Runs the command: 0 when nothing failed. */
export async function run(context: CommandContext): Promise<number> {
  const { invocation, options, ui } = context;
  if (options.flag('fix') && !invocation.isRoot) return runAsRoot(invocation, invocation.words);
  ui.progress({ kind: 'started', step: 'doctor', text: 'looking' });
  const ofDaemon = await askDaemon();
  const laptop: Laptop = { invocation, hasDaemon: ofDaemon !== undefined };
  const findings = [
    ...(await checkLaptop(laptop, options.flag('fix'))),
    ...(await checkCluster(context)),
    ...(ofDaemon ?? []),
  ];
  ui.settle();
  const result: DoctorResult = { findings };
  await printAnswer(ui, options.text('output'), {
    value: result,
    human: () => formatFindings(findings, ui),
  });
  return findings.some(({ state }) => state === 'failed') ? EXIT.failure : EXIT.ok;
}

/** Returns the daemon's own findings, a failed one where it does not answer, undefined where none runs. */
async function askDaemon(): Promise<readonly Finding[] | undefined> {
  try {
    const client = await findDaemon();
    if (client === undefined) return undefined;
    try {
      return (await client.call('doctor', {}, { timeoutMs: DAEMON_TIMEOUT_MS })).findings;
    } finally {
      client.close();
    }
  } catch (error) {
    const next = error instanceof CzError ? error.hint : undefined;
    const state = hasCode(error, 'NOT_PERMITTED') ? 'skipped' : 'failed';
    return [{ check: 'daemon', state, found: messageOf(error), ...(next === undefined ? {} : { next }) }];
  }
}

async function checkLaptop(laptop: Laptop, mend: boolean): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const check of LAPTOP_CHECKS) {
    const found = await lookAt(check, laptop);
    if (!mend || found.state !== 'failed' || check.fix === undefined) findings.push(found);
    else findings.push(await mended(check, laptop, found));
  }
  return findings;
}

async function lookAt(check: Check, laptop: Laptop): Promise<Finding> {
  try {
    return { check: check.name, ...(await check.look(laptop)) };
  } catch (error) {
    return { check: check.name, state: 'failed', found: messageOf(error) };
  }
}

async function mended(check: Check, laptop: Laptop, before: Finding): Promise<Finding> {
  try {
    await check.fix?.();
  } catch (error) {
    return {
      ...before,
      found: `${before.found}; mending it: ${messageOf(error)}`,
      next: 'cz logs says more',
    };
  }
  const after = await lookAt(check, laptop);
  return after.state === 'ok' ? { ...after, found: `mended: ${before.found}` } : after;
}

async function checkCluster({ invocation, options }: CommandContext): Promise<Finding[]> {
  const cluster = await import('./cluster-checks.js');
  return cluster.checkCluster({
    invoker: await findInvoker({ env: invocation.env }),
    kubeconfig: options.text('kubeconfig'),
    context: options.text('context'),
    managerNamespace: options.text('manager-namespace') ?? DEFAULT_MANAGER_NAMESPACE,
  });
}

const MARKS: Readonly<Record<Finding['state'], readonly [string, Paint]>> = {
  ok: ['ok', 'green'],
  warning: ['warning', 'yellow'],
  failed: ['failed', 'red'],
  skipped: ['skipped', 'dim'],
};

/** Returns a line for each finding, and its next step below it. */
export function formatFindings(findings: readonly Finding[], { paint }: Pick<Ui, 'paint'>): string {
  const width = Math.max(0, ...findings.map(({ check }) => check.length));
  const lines = findings.flatMap(({ check, state, found, next }) => {
    const [word, colour] = MARKS[state];
    const line = `${paint(colour, word.padEnd(7))}  ${check.padEnd(width)}  ${printable(found)}`;
    return next === undefined ? [line] : [line, `${' '.repeat(width + 11)}→ ${printable(next)}`];
  });
  return `${lines.join('\n')}\n`;
}
