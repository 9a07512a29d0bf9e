/**
 * `cz uninstall`: the flags' meaning; uninstall.ts does it.
 */
import { findInvoker } from '../base/invoker.js';
import type { CommandContext } from './command.js';
import { runUninstall } from './uninstall.js';

/** Runs the command. */
export async function run({ invocation, options, ui, signal }: CommandContext): Promise<number> {
  await runUninstall(
    {
      invoker: await findInvoker({ env: invocation.env }),
      kubeconfig: options.text('kubeconfig'),
      context: options.text('context'),
      signal,
    },
    { progress: (line) => ui.note(line), print: (text) => ui.answer(text) },
  );
  return 0;
}
