/** `npm run cluster -- …`: the command line of the tests' Kubernetes. Answers go to stdout, talk to stderr. */
import { CzError, exitCodeOf, messageOf } from '../../../src/base/errors.js';
import { commands, USAGE } from './commands.js';
import { missingPackages } from './packages.js';
import { say } from './voice.js';

async function main([name = '', ...args]: readonly string[]): Promise<number> {
  const command = commands[name];
  if (command === undefined) throw new CzError('USAGE', `"${name}" is no command`, { hint: USAGE });
  if (process.getuid?.() !== 0) throw await notRoot();
  return command(args);
}

async function notRoot(): Promise<CzError> {
  const missing = await missingPackages();
  const install =
    missing.length === 0 ? '' : `apt-get install --no-install-recommends ${missing.join(' ')}; and then `;
  const hint = `as root: ${install}npm run cluster -- up`;
  return new CzError('NOT_ROOT', 'the cluster needs root: it makes namespaces, mounts and cgroups', { hint });
}

function explain(error: unknown): number {
  for (let at = error; at !== undefined; at = at instanceof Error ? at.cause : undefined)
    say(`error: ${messageOf(at)}`);
  if (!(error instanceof CzError)) return 1;
  if (error.hint !== undefined) say(`hint: ${error.hint}`);
  return exitCodeOf(error.code);
}

process.exitCode = await main(process.argv.slice(2)).catch(explain);
