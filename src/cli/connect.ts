/**
 * `cz connect`: as root it starts the daemon and asks it to connect; without root it becomes root first, by sudo.
 * With `-- CMD` the command runs as the user, and what was connected for it is disconnected after it.
 */
import { resolve } from 'node:path';
import { CzError, EXIT, hasCode } from '../base/errors.js';
import { findInvoker, type Invoker } from '../base/invoker.js';
import { commandAs } from '../base/run-as.js';
import type { ControlClient } from '../control/client.js';
import type { ConnectParams, ConnectResult, ProgressEvent } from '../control/schema.js';
import { ask } from './ask.js';
import { runChild } from './child.js';
import type { CommandContext, Options } from './command.js';
import { QUICK_CALL_MS, awaitEnd, ensureDaemon, findDaemon } from './daemon.js';
import { DEFAULT_MANAGER_NAMESPACE } from './defaults.js';
import { disconnectQuietly } from './disconnect.js';
import { runAsRoot } from './elevate.js';
import { printAnswer } from './output.js';

/** Runs the command. */
export async function run(context: CommandContext): Promise<number> {
  return context.invocation.isRoot ? connectAsRoot(context) : connectBySudo(context);
}

async function connectAsRoot(context: CommandContext): Promise<number> {
  const { invocation, command, ui } = context;
  const invoker = await findInvoker({ env: invocation.env });
  const result = await connect(context, invoker);
  if (command.length === 0) {
    await report(context, result);
    return EXIT.ok;
  }
  ui.detail(headline(result));
  const [program = '', ...args] = command;
  const child = commandAs(invoker, [program, ...args]);
  return whileConnected(context, result.outcome !== 'connected', child);
}

/** Only connecting needs root: the command runs where the user typed it, as it would without cz. */
async function connectBySudo(context: CommandContext): Promise<number> {
  const { invocation, command } = context;
  const { words } = invocation;
  const own = command.length === 0 ? words : words.slice(0, words.indexOf('--'));
  const wasConnected = command.length > 0 && (await isConnected());
  const code = await runAsRoot(invocation, command.length === 0 ? own : [...own, '--quiet']);
  if (code !== EXIT.ok || command.length === 0) return code;
  return whileConnected(context, wasConnected, { argv: command });
}

async function isConnected(): Promise<boolean> {
  const client = await findDaemon();
  if (client === undefined) return false;
  try {
    return (await client.call('status', {}, { timeoutMs: QUICK_CALL_MS })).state !== 'disconnected';
  } finally {
    client.close();
  }
}

async function whileConnected(
  { invocation, ui }: CommandContext,
  stays: boolean,
  child: Parameters<typeof runChild>[0],
): Promise<number> {
  try {
    return await runChild(child, invocation.isInteractive, (error) => ui.error(error));
  } finally {
    if (!stays) await disconnectQuietly(ui);
  }
}

/** Connects; without a manager it is offered on a terminal to put it there. */
async function connect(context: CommandContext, invoker: Invoker): Promise<ConnectResult> {
  const params = paramsOf(context.options, invoker);
  try {
    return await connectOnce(context, params);
  } catch (error) {
    const mayAsk = hasCode(error, 'MANAGER_MISSING') && !params.install && context.invocation.isInteractive;
    if (!mayAsk || !(await offer(context, error))) throw error;
    return connectOnce(context, { ...params, install: true });
  }
}

async function offer({ ui }: CommandContext, error: unknown): Promise<boolean> {
  ui.settle();
  if (error instanceof CzError) ui.note(error.message);
  return ask('Put the traffic manager there now?');
}

async function connectOnce(
  { ui, signal, options }: CommandContext,
  params: ConnectParams,
): Promise<ConnectResult> {
  ui.progress({ kind: 'started', step: 'daemon', text: 'starting the daemon' });
  const client = await ensureDaemon(params.invoker, signal);
  const onEvent = (event: ProgressEvent) => {
    if (event.kind !== 'warning' || !options.flag('quiet')) ui.progress(event);
    else ui.warn(event.text, event.hint);
  };
  try {
    const result = await client.call('connect', params, { onEvent, signal });
    client.close();
    return result;
  } catch (error) {
    await afterFailure(client);
    throw error;
  } finally {
    ui.settle();
  }
}

/** A daemon whose connecting failed undoes it and ends; one that was connected before stays, and so may we leave. */
async function afterFailure(client: ControlClient): Promise<void> {
  const state = await client
    .call('status', {}, { timeoutMs: QUICK_CALL_MS })
    .then((status) => status.state)
    .catch(() => 'disconnected');
  if (state === 'disconnected' || state === 'connecting') await awaitEnd(client);
  client.close();
}

/** A namespace's name. RFC 1123, as Kubernetes takes it. */
const NAMESPACE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

function paramsOf(options: Options, invoker: Invoker): ConnectParams {
  checkForms(options);
  const kubeconfig = options.text('kubeconfig');
  return {
    invoker,
    namespaces: options.list('namespace'),
    alsoRoute: options.list('also-route'),
    neverRoute: options.list('never-route'),
    managerNamespace: options.text('manager-namespace') ?? DEFAULT_MANAGER_NAMESPACE,
    install: options.flag('install'),
    ...(kubeconfig === undefined ? {} : { kubeconfig: resolve(kubeconfig) }),
    ...given('context', options.text('context')),
    ...given('managerUrl', options.text('manager-url')),
    ...given('image', options.text('image')),
  };
}

/** @throws USAGE for what no cluster can have, before anything is started */
function checkForms(options: Options): void {
  for (const name of options.list('namespace').concat(options.text('manager-namespace') ?? [])) {
    if (!NAMESPACE.test(name))
      throw new CzError('USAGE', `"${name}" is no name of a namespace`, { hint: 'kubectl get namespaces' });
  }
  const url = options.text('manager-url');
  if (url !== undefined && !/^wss?:\/\/./.test(url))
    throw new CzError('USAGE', `--manager-url "${url}" is no wss:// URL`, {
      hint: 'as wss://cz.example.com',
    });
}

function given<K extends string>(key: K, value: string | undefined): Partial<Record<K, string>> {
  const entry: Partial<Record<string, string>> = value === undefined ? {} : { [key]: value };
  return entry;
}

async function report({ ui, options }: CommandContext, result: ConnectResult): Promise<void> {
  const format = options.text('output');
  if (format !== undefined) return printAnswer(ui, format, { value: result, human: () => '' });
  ui.note(headline(result));
  for (const change of result.changes) ui.note(`  ${change}`);
}

function headline({ outcome, status }: ConnectResult): string {
  const where = `"${status.context ?? ''}"`;
  if (outcome === 'unchanged') return `already connected to ${where}`;
  if (outcome === 'changed') return `connected to ${where}; changed:`;
  const [namespace = 'default'] = status.namespaces;
  return `connected to ${where}; try: curl http://SERVICE.${namespace}`;
}
