/**
 * `cz version`: of this program, the daemon that runs, the manager; and whether they fit.
 */
import { EXIT, hasCode, messageOf } from '../base/errors.js';
import { findInvoker } from '../base/invoker.js';
import { VERSION } from '../base/version.js';
import type { CommandContext } from './command.js';
import { DEFAULT_MANAGER_NAMESPACE } from './defaults.js';
import { formatRows, printAnswer } from './output.js';
import { readStatus } from './status.js';

interface Versions {
  readonly client: { readonly version: string };
  readonly daemon: { readonly version: string } | null;
  readonly manager: { readonly version: string } | null;
  /** Whether they work together; null while the manager's is unknown. */
  readonly fits: boolean | null;
}

/** Runs the command. */
export async function run(context: CommandContext): Promise<number> {
  const { options, ui } = context;
  const client = { version: VERSION };
  if (options.flag('client')) {
    await printAnswer(ui, options.text('output'), { value: { client }, human: () => VERSION });
    return EXIT.ok;
  }
  const { daemon, manager } = await readStatus();
  const managerVersion = manager?.version ?? (await askCluster(context));
  const versions: Versions = {
    client,
    daemon: daemon === null ? null : { version: daemon.version },
    manager: managerVersion === undefined ? null : { version: managerVersion },
    fits: managerVersion === undefined ? null : fit(VERSION, managerVersion),
  };
  await printAnswer(ui, options.text('output'), { value: versions, human: () => format(versions) });
  if (versions.fits === false)
    ui.warn('the manager is of another version', 'bring it to this one: cz install');
  return EXIT.ok;
}

async function askCluster({ invocation, ui }: CommandContext): Promise<string | undefined> {
  const { readManagerVersion } = await import('./cluster-checks.js');
  try {
    return await readManagerVersion({
      invoker: await findInvoker({ env: invocation.env }),
      kubeconfig: undefined,
      context: undefined,
      managerNamespace: DEFAULT_MANAGER_NAMESPACE,
    });
  } catch (error) {
    if (!hasCode(error, 'KUBECONFIG_MISSING'))
      ui.note(`the manager's version is not known: ${messageOf(error)}`);
    return undefined;
  }
}

/** Semantic Versioning 2.0.0: before 1.0 a minor version may break, after it a major one. */
export function fit(a: string, b: string): boolean {
  const [[majorA, minorA], [majorB, minorB]] = [a.split('.'), b.split('.')];
  return majorA === majorB && (majorA !== '0' || minorA === minorB);
}

function format({ client, daemon, manager }: Versions): string {
  return formatRows(
    [
      ['client', client.version],
      ['daemon', daemon?.version ?? 'not running'],
      ['manager', manager?.version ?? 'unknown'],
    ],
    '',
  );
}
