#!/usr/bin/env node
/**
 * The program `cz` (and `kubectl-cz`): reads the words, loads the one command that they name, and turns what it
 * throws into the voice and an exit code.
 */
import { basename } from 'node:path';
import { EXIT, codeOf, exitCodeOf } from '../base/errors.js';
import type { Invocation } from './command.js';
import { COMMANDS, COMMON_OPTIONS } from './commands.js';
import { parseWords } from './parser.js';
import { createUi } from './ui.js';

async function main(invocation: Invocation): Promise<number> {
  const { env, program, words } = invocation;
  const sinks = { out: process.stdout, err: process.stderr, env };
  let ui = createUi(sinks);
  try {
    const parsed = parseWords(words[0] === '--version' ? ['version', '--client'] : words, {
      program,
      commands: COMMANDS,
      common: COMMON_OPTIONS,
    });
    if (parsed.kind === 'help') {
      ui.answer(parsed.text);
      return EXIT.ok;
    }
    const { options, args, command } = parsed;
    ui = createUi({ ...sinks, quiet: options.flag('quiet'), verbose: options.flag('verbose') });
    const module = await parsed.spec.load();
    return await module.run({ invocation, options, args, command, ui, signal: interruption() });
  } catch (error) {
    ui.error(error);
    return exitCodeOf(codeOf(error) ?? '');
  }
}

function interruption(): AbortSignal {
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => abort.abort(signal));
  return abort.signal;
}

function invocationOf(argv: readonly string[]): Invocation {
  const [node = '', script = '', ...words] = argv;
  return {
    program: basename(script) === 'kubectl-cz' ? 'kubectl cz' : 'cz',
    node,
    script,
    words,
    env: process.env,
    isRoot: process.geteuid?.() === 0,
    isInteractive: process.stdin.isTTY && process.stderr.isTTY,
  };
}

for (const stream of [process.stdout, process.stderr]) stream.on('error', () => process.exit(EXIT.failure)); // the reader is gone: `cz logs | head`

process.exitCode = await main(invocationOf(process.argv));
