/**
 * `cz disconnect`: the daemon undoes everything and ends. Without a daemon, what a killed one left is undone here.
 */
import { existsSync } from 'node:fs';
import { CzError, EXIT } from '../base/errors.js';
import { JOURNAL_PATH, type DisconnectResult } from '../control/schema.js';
import type { CommandContext } from './command.js';
import { awaitEnd, findDaemon } from './daemon.js';
import { printAnswer } from './output.js';
import type { Ui } from './ui.js';

/** Undoing and the cluster's answer; a cluster out of reach is not waited for longer. */
const DISCONNECT_TIMEOUT_MS = 20_000;

/** Runs the command. */
export async function run({ invocation, options, ui }: CommandContext): Promise<number> {
  const result = (await disconnect(ui)) ?? (await cleanUp(invocation.isRoot));
  const format = options.text('output');
  if (format !== undefined) await printAnswer(ui, format, { value: result, human: () => '' });
  else ui.note(headline(result));
  for (const line of result.leftovers) ui.warn(`left behind: ${line}`, 'sudo cz doctor --fix');
  return result.leftovers.length === 0 ? EXIT.ok : EXIT.failure;
}

/** Disconnects after a command, and says only what went wrong. */
export async function disconnectQuietly(ui: Ui): Promise<void> {
  try {
    const result = await disconnect(ui);
    for (const line of result?.leftovers ?? []) ui.warn(`left behind: ${line}`, 'sudo cz doctor --fix');
  } catch (error) {
    ui.error(error);
  }
}

async function disconnect(ui: Ui): Promise<DisconnectResult | undefined> {
  const client = await findDaemon();
  if (client === undefined) return undefined;
  ui.progress({ kind: 'started', step: 'disconnect', text: 'disconnecting' });
  try {
    const onEvent = ui.progress.bind(ui);
    const result = await client.call('disconnect', {}, { onEvent, timeoutMs: DISCONNECT_TIMEOUT_MS });
    await awaitEnd(client);
    return result;
  } finally {
    client.close();
    ui.settle();
  }
}

/** Nothing runs; a journal that is still there is what a killed daemon and its guard left. */
async function cleanUp(isRoot: boolean): Promise<DisconnectResult> {
  const nothing = { wasConnected: false, context: null, leftovers: [] };
  if (!existsSync(JOURNAL_PATH)) return nothing;
  if (!isRoot) {
    throw new CzError('NOT_ROOT', 'a killed daemon left changes on this laptop', {
      hint: 'sudo cz disconnect',
    });
  }
  const { replayJournal } = await import('../base/undo.js');
  const { failed } = await replayJournal(JOURNAL_PATH);
  return { ...nothing, leftovers: failed.map(({ step, reason }) => `${step}: ${reason}`) };
}

function headline({ wasConnected, context }: DisconnectResult): string {
  if (!wasConnected) return 'nothing is connected';
  return context === null ? 'disconnected' : `disconnected from "${context}"`;
}
