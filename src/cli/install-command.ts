/**
 * `cz install`: the flags' meaning; install.ts does it.
 */
import { findInvoker } from '../base/invoker.js';
import type { CommandContext } from './command.js';
import { runInstall } from './install.js';
import { DEFAULT_MANAGER_NAMESPACE } from './defaults.js';

/** Runs the command. */
export async function run({ invocation, options, ui, signal }: CommandContext): Promise<number> {
  const onlyNamespaces = options.text('only-namespaces');
  await runInstall(
    {
      invoker: await findInvoker({ env: invocation.env }),
      kubeconfig: options.text('kubeconfig'),
      context: options.text('context'),
      signal,
      print: options.flag('print'),
      managerNamespace: options.text('manager-namespace') ?? DEFAULT_MANAGER_NAMESPACE,
      image: options.text('image'),
      onlyNamespaces: onlyNamespaces?.split(',').filter((name) => name !== ''),
      allowGroups: given(options.list('allow-group')),
      alsoRoute: given(options.list('also-route')),
      nodeAddresses: options.toggle('node-addresses'),
    },
    { progress: (line) => ui.note(line), print: (text) => ui.answer(text) },
  );
  return 0;
}

/** What was not given is kept from the earlier install. */
function given(list: readonly string[]): readonly string[] | undefined {
  return list.length === 0 ? undefined : list;
}
