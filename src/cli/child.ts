/**
 * The command after `--`: it has the terminal, gets the signals, and its exit code is cz's.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { CzError, codeOf, messageOf } from '../base/errors.js';
import { start, type SpawnOptions } from '../base/exec.js';
import { exitStatus } from './elevate.js';

const SIGNALS = [
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGHUP',
  'SIGUSR1',
  'SIGUSR2',
  'SIGWINCH',
  'SIGCONT',
] as const;
/** A terminal sends these to the whole foreground group: the command has them already. */
const FROM_TERMINAL: ReadonlySet<string> = new Set(['SIGINT', 'SIGQUIT', 'SIGWINCH', 'SIGCONT']);

/** POSIX.1-2017, Shell Command Language, 2.8.2: not found, found but not executable. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

export interface ChildCommand extends Omit<SpawnOptions, 'stdio' | 'detached'> {
  readonly argv: readonly string[];
}

/** Runs the command to its end and returns its exit code. `say` gets why it could not start. */
export async function runChild(
  { argv, ...options }: ChildCommand,
  onTerminal: boolean,
  say: (error: CzError) => void,
): Promise<number> {
  const [program, ...args] = argv;
  if (program === undefined) throw new CzError('USAGE', 'no command');
  const child = start([program, ...args], { ...options, stdio: 'inherit' });
  const stop = forwardSignals(child, onTerminal);
  try {
    const [code, signal]: unknown[] = await once(child, 'exit');
    return exitStatus(code, signal);
  } catch (cause) {
    say(new CzError('EXEC_FAILED', `starting "${program}": ${messageOf(cause)}`, { cause }));
    return codeOf(cause) === 'ENOENT' ? NOT_FOUND : NOT_EXECUTABLE;
  } finally {
    stop();
  }
}

function forwardSignals(child: ChildProcess, onTerminal: boolean): () => void {
  const forwarded = SIGNALS.map((signal) => {
    const pass = () => void (onTerminal && FROM_TERMINAL.has(signal) ? undefined : child.kill(signal));
    process.on(signal, pass);
    return () => process.off(signal, pass);
  });
  return () => forwarded.forEach((stop) => stop());
}
