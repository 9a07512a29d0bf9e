/** Runs a command for the user: the same streams and terminal, signals passed on, its exit code returned. */
import { constants } from 'node:os';
import { once } from 'node:events';
import { start } from '../../../src/base/exec.js';
import { programsPath } from './processes.js';

const PASSED: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];

/** Returns the exit code of the command, 128 and its number where a signal ended it. */
export async function attach(argv: readonly [string, ...string[]]): Promise<number> {
  const path = `${process.env['PATH'] ?? ''}:${programsPath()}`;
  const child = start(argv, { stdio: 'inherit', env: { ...process.env, PATH: path } });
  const pass = (signal: NodeJS.Signals) => void child.kill(signal);
  for (const signal of PASSED) process.on(signal, pass);
  try {
    await once(child, 'exit');
    return child.exitCode ?? 128 + constants.signals[child.signalCode ?? 'SIGKILL'];
  } finally {
    for (const signal of PASSED) process.off(signal, pass);
  }
}
