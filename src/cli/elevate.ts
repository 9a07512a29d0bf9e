/**
 * Becoming root: on a terminal cz calls sudo itself; elsewhere it says the one line to paste and touches nothing.
 */
import { once } from 'node:events';
import { constants } from 'node:os';
import { isAbsolute, resolve } from 'node:path';
import { CzError, codeOf } from '../base/errors.js';
import { start } from '../base/exec.js';
import type { Invocation } from './command.js';
import { quoteCommand } from './quote.js';

/** Returns this command as root runs it: absolute paths, nothing that depends on root's own PATH. */
function asRoot({ node, script }: Invocation, words: readonly string[]): string[] {
  const program = isAbsolute(script) ? script : resolve(script);
  return ['sudo', '--', node, program, ...words];
}

/** Returns the error for somebody without root and without a terminal: its hint works as pasted. */
function notRoot(invocation: Invocation, words: readonly string[] = invocation.words): CzError {
  const name = words[0] ?? 'this';
  return new CzError('NOT_ROOT', `${name} needs root`, { hint: quoteCommand(asRoot(invocation, words)) });
}

/**
 * Runs these words of this program by sudo, which asks for the password, and returns the exit code.
 * @throws NOT_ROOT no terminal, or no sudo
 */
export async function runAsRoot(invocation: Invocation, words: readonly string[]): Promise<number> {
  if (!invocation.isInteractive) throw notRoot(invocation, words);
  const [program = 'sudo', ...args] = asRoot(invocation, words);
  const child = start([program, ...args], { stdio: 'inherit' });
  try {
    const [code, signal]: unknown[] = await once(child, 'exit');
    return exitStatus(code, signal);
  } catch (cause) {
    if (codeOf(cause) !== 'ENOENT') throw cause;
    const [, , ...own] = asRoot(invocation, words);
    const hint = `there is no sudo here; as root: ${quoteCommand(own)}`;
    throw new CzError('NOT_ROOT', `${words[0] ?? 'this'} needs root`, { hint, cause });
  }
}

/** Returns what a shell would say of a child that ended so: its code, or 128 and the signal's number. */
export function exitStatus(code: unknown, signal: unknown): number {
  if (typeof code === 'number') return code;
  const number = Object.entries(constants.signals).find(([name]) => name === signal)?.[1];
  return 128 + (number ?? 0);
}
