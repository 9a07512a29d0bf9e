/**
 * `cz logs`: the daemon's log, from the file that its user may read (also when the daemon is gone), and the manager's,
 * asked from the API server as the user.
 */
import { EXIT, CzError, codeOf, hasCode, messageOf } from '../base/errors.js';
import { findInvoker } from '../base/invoker.js';
import { LOG_PATH, type LogsResult } from '../control/schema.js';
import type { CommandContext } from './command.js';
import { QUICK_CALL_MS, findDaemon } from './daemon.js';
import { DEFAULT_MANAGER_NAMESPACE } from './defaults.js';
import { formatLogLine } from './log-line.js';
import { followLines, lastLines } from './tail.js';

const DEFAULT_LINES = 100;
const MOST_LINES = 100_000;

type Print = (end: 'daemon' | 'manager', line: string) => void;

/** Runs the command. */
export async function run(context: CommandContext): Promise<number> {
  const { options, ui, signal } = context;
  const count = countOf(options.text('tail'));
  const both = options.flag('daemon') === options.flag('manager');
  const where = await askDaemon(context);
  const print: Print = (end, line) => ui.answer(formatLogLine(end, line, options.text('output'), ui));
  const failures: unknown[] = [];
  if (both || options.flag('manager')) {
    await printManager(context, where, count, print).catch((error: unknown) => failures.push(error));
  }
  if (both || options.flag('daemon')) {
    await printDaemon(where.path, count, print).catch((error: unknown) => failures.push(error));
  }
  if (!both && failures.length > 0) throw failures[0];
  for (const error of failures) ui.warn(messageOf(error), error instanceof CzError ? error.hint : undefined);
  if (options.flag('follow')) await followLines(where.path, (line) => print('daemon', line), signal);
  return failures.length === 2 ? EXIT.failure : EXIT.ok;
}

function countOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_LINES;
  const count = Number(text);
  if (!/^\d+$/.test(text) || count > MOST_LINES)
    throw new CzError('USAGE', `--tail "${text}" is no number of lines`);
  return count;
}

/** Without a daemon the file of the last one is still there. */
async function askDaemon({ options }: CommandContext): Promise<LogsResult> {
  const namespace = options.text('manager-namespace') ?? DEFAULT_MANAGER_NAMESPACE;
  const none: LogsResult = { path: LOG_PATH, manager: { namespace, pod: 'cz-manager-0' } };
  const client = await findDaemon();
  if (client === undefined) return none;
  try {
    const said = await client.call('logs', {}, { timeoutMs: QUICK_CALL_MS });
    return { ...said, manager: said.manager ?? none.manager };
  } finally {
    client.close();
  }
}

async function printDaemon(path: string, count: number, print: Print): Promise<void> {
  try {
    for (const line of await lastLines(path, count)) print('daemon', line);
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') {
      throw new CzError('NOT_FOUND', 'no daemon has run since this laptop started', {
        hint: 'sudo cz connect',
        cause,
      });
    }
    if (codeOf(cause) !== 'EACCES') throw cause;
    throw new CzError('NOT_PERMITTED', `the log "${path}" belongs to another user`, {
      hint: 'sudo cz logs',
      cause,
    });
  }
}

async function printManager(
  { invocation, options }: CommandContext,
  { manager }: LogsResult,
  count: number,
  print: Print,
): Promise<void> {
  if (manager === null) return;
  const { readManagerLog } = await import('./cluster-checks.js');
  const question = {
    invoker: await findInvoker({ env: invocation.env }),
    kubeconfig: options.text('kubeconfig'),
    context: options.text('context'),
    managerNamespace: manager.namespace,
  };
  try {
    const text = await readManagerLog(question, manager.pod, count);
    for (const line of text.split('\n')) if (line !== '') print('manager', line);
  } catch (cause) {
    const hint = hasCode(cause, 'NOT_PERMITTED')
      ? `it takes the right to get pods/log in "${manager.namespace}"`
      : undefined;
    throw new CzError(codeOf(cause) ?? 'FAILED', `the manager's log: ${messageOf(cause)}`, {
      cause,
      ...(hint === undefined
        ? cause instanceof CzError && cause.hint !== undefined
          ? { hint: cause.hint }
          : {}
        : { hint }),
    });
  }
}
