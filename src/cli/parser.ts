/**
 * Reads the command line by the commands' data; the only importer of commander. What it cannot read becomes a
 * USAGE error with the nearest word as hint.
 */
import { Command, CommanderError, Option } from 'commander';
import { CzError } from '../base/errors.js';
import type { CommandSpec, OptionSpec, Options } from './command.js';
import { formatCommandHelp, formatProgramHelp } from './help.js';

/** What the user asked for: a command, or help. */
export type Parsed =
  | { readonly kind: 'help'; readonly text: string }
  | {
      readonly kind: 'command';
      readonly spec: CommandSpec;
      readonly options: Options;
      readonly args: readonly string[];
      readonly command: readonly string[];
    };

export interface Grammar {
  readonly program: string;
  readonly commands: readonly CommandSpec[];
  /** Options of every command. */
  readonly common: readonly OptionSpec[];
}

/** Returns what the words after the program's name ask for. @throws USAGE */
export function parseWords(words: readonly string[], grammar: Grammar): Parsed {
  const separator = words.indexOf('--');
  const own = separator === -1 ? words : words.slice(0, separator);
  const command = separator === -1 ? [] : words.slice(separator + 1);
  const help = helpFor(own, grammar);
  if (help !== undefined) return { kind: 'help', text: help };
  let parsed: Parsed | undefined;
  const program = createProgram(grammar, (spec, options, args) => {
    checkCommand(spec, command, separator !== -1, grammar.program);
    parsed = { kind: 'command', spec, options, args, command };
  });
  try {
    program.parse([...own], { from: 'user' });
  } catch (error) {
    throw error instanceof CommanderError ? usageError(error, grammar.program, own) : error;
  }
  if (parsed === undefined) throw new CzError('USAGE', 'no command', { hint: `${grammar.program} --help` });
  return parsed;
}

/** `--help` anywhere before `--`, the word `help`, or nothing at all. */
function helpFor(words: readonly string[], { program, commands, common }: Grammar): string | undefined {
  const asked = words.some((word) => word === '--help' || word === '-h') || words[0] === 'help';
  if (!asked && words.length > 0) return undefined;
  const spec = commands.find(({ name }) => name === words.find((word) => !/^-|^help$/.test(word)));
  return spec === undefined ? formatProgramHelp(program, commands) : formatCommandHelp(program, spec, common);
}

type Take = (spec: CommandSpec, options: Options, args: readonly string[]) => void;

function createProgram(grammar: Grammar, take: Take): Command {
  const program = new Command('cz').helpOption(false).helpCommand(false).exitOverride();
  program.configureOutput({ writeErr: () => undefined, outputError: () => undefined });
  for (const spec of grammar.commands) {
    const command = program.command(spec.name).helpOption(false).exitOverride().allowExcessArguments(false);
    command.configureOutput({ writeErr: () => undefined, outputError: () => undefined });
    for (const { name } of spec.args ?? []) command.argument(`[${name}]`);
    for (const option of [...spec.options, ...grammar.common]) command.addOption(toOption(option));
    command.action(() => take(spec, toOptions(command.opts()), command.args));
  }
  return program;
}

function toOption({ flags, does, repeat, choices }: OptionSpec): Option {
  const option = new Option(flags, does);
  if (choices !== undefined) option.choices([...choices]);
  if (repeat === true)
    option.argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value]);
  return option;
}

/** commander names values in camelCase. */
function toOptions(values: Readonly<Record<string, unknown>>): Options {
  const valueOf = (name: string) =>
    values[name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
  return {
    text(name) {
      const value = valueOf(name);
      return typeof value === 'string' ? value : undefined;
    },
    list(name) {
      const value = valueOf(name);
      return Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : [];
    },
    flag: (name) => valueOf(name) === true,
    toggle(name) {
      const value = valueOf(name);
      return typeof value === 'boolean' ? value : undefined;
    },
  };
}

function checkCommand(
  spec: CommandSpec,
  command: readonly string[],
  separated: boolean,
  program: string,
): void {
  if (!separated) return;
  if (spec.takesCommand !== true)
    throw new CzError('USAGE', `"${spec.name}" runs no command: nothing may follow "--"`);
  if (command.length === 0)
    throw new CzError('USAGE', 'no command after "--"', { hint: `${program} ${spec.name} -- CMD` });
}

/** commander says `error: WHAT` and, on a line of its own, `(Did you mean X?)`. */
function usageError(error: CommanderError, program: string, words: readonly string[]): CzError {
  const [what = '', ...more] = error.message.replace(/^error: /, '').split('\n');
  const near = /\(Did you mean (?:one of )?(.*)\?\)/.exec(more.join(' '))?.[1];
  const name = words.find((word) => !word.startsWith('-'));
  const help =
    error.code === 'commander.unknownCommand' ? `${program} --help` : `${program} ${name ?? ''} --help`;
  const hint = near === undefined ? help.replaceAll(/ +/g, ' ') : `did you mean ${near}?`;
  const message = what.replaceAll("'", '"').replace(/\.$/, '');
  return new CzError('USAGE', message, { hint });
}
