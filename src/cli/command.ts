/**
 * What a command is: data that the parser, the help and the completion read, and a module that is loaded when the
 * command runs. No logic.
 */
import type { Ui } from './ui.js';

export interface OptionSpec {
  /** As commander reads it: `-n, --namespace <name>`; `<…>`: takes a value. */
  readonly flags: string;
  /** What it does, for the help: lower case, no full stop. */
  readonly does: string;
  /** May be given several times. */
  readonly repeat?: boolean;
  readonly choices?: readonly string[];
}

export interface Example {
  readonly line: string;
  readonly does: string;
}

export interface CommandSpec {
  readonly name: string;
  /** One line: lower case, no full stop. */
  readonly summary: string;
  /** Arguments as the usage line shows them, `[SHELL]`; each is optional and a plain word. */
  readonly args?: readonly { readonly name: string; readonly choices: readonly string[] }[];
  /** Takes `-- CMD`: everything after `--` is a command to run. */
  readonly takesCommand?: boolean;
  /** Shown first. `cz` stands for the program. */
  readonly examples: readonly Example[];
  readonly options: readonly OptionSpec[];
  readonly load: () => Promise<CommandModule>;
}

interface CommandModule {
  /** Returns the exit code. @throws CzError: its code decides the exit code */
  run(context: CommandContext): Promise<number>;
}

/** The options that were given, by long name without dashes. */
export interface Options {
  text(name: string): string | undefined;
  list(name: string): readonly string[];
  flag(name: string): boolean;
  /** True for `--name`, false for `--no-name`, undefined for neither. */
  toggle(name: string): boolean | undefined;
}

/** How this program was called. */
export interface Invocation {
  /** As the user typed it: `cz` or `kubectl cz`. */
  readonly program: string;
  /** Absolute paths of Node and of this program. */
  readonly node: string;
  readonly script: string;
  /** The words after the program's name. */
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
  /** Somebody sits there: standard input and error are a terminal. */
  readonly isInteractive: boolean;
}

export interface CommandContext {
  readonly invocation: Invocation;
  readonly options: Options;
  readonly args: readonly string[];
  /** What stood after `--`. */
  readonly command: readonly string[];
  readonly ui: Ui;
  /** Aborts at SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
}
