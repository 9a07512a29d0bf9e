/** `npm run cluster -- …`: the command line of the tests' Kubernetes. Answers go to stdout, talk to stderr. */
import { CzError, exitCodeOf, messageOf } from '../../../src/base/errors.js';
import { commands, USAGE } from './commands.js';
import { say } from './voice.js';

async function main([name = '', ...args]: readonly string[]): Promise<number> {
  const command = commands[name];
  if (command === undefined) throw new CzError('USAGE', `"${name}" is no command`, { hint: USAGE });
  return command(args);
}

function explain(error: unknown): number {
  for (let at = error; at !== undefined; at = at instanceof Error ? at.cause : undefined)
    say(`error: ${messageOf(at)}`);
  if (!(error instanceof CzError)) return 1;
  if (error.hint !== undefined) say(`hint: ${error.hint}`);
  return exitCodeOf(error.code);
}

process.exitCode = await main(process.argv.slice(2)).catch(explain);
