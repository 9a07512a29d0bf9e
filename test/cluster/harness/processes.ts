/**
 * The cluster's long-running programs: started in the background with their output in a log file (never in the
 * caller's pipes), remembered by name in the cluster's folder, so that a later command can stop and start them.
 */
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { once } from 'node:events';
import { CzError } from '../../../src/base/errors.js';
import { exec, start } from '../../../src/base/exec.js';
import { inside, type Place } from './namespaces.js';
import { readRecord, writeRecord } from './records.js';
import { inCluster } from './settings.js';
import { until } from './until.js';

const STOP_TIMEOUT_MS = 10_000;
const TAIL_CHARACTERS = 1500;

interface Remembered {
  readonly argv: readonly [string, ...string[]];
  readonly pid: number;
}

/** Starts a program in a place, in a session of its own, and returns its process id. */
export async function background(name: string, place: Place, argv: readonly string[]): Promise<number> {
  await mkdir(inCluster('processes'), { recursive: true });
  await mkdir(inCluster('logs'), { recursive: true });
  return launch(name, inside(place, argv));
}

async function launch(name: string, argv: readonly [string, ...string[]]): Promise<number> {
  const log = openSync(logFile(name), 'a');
  const child = start(argv, {
    stdio: ['ignore', log, log],
    detached: true,
    cwd: '/',
    env: { PATH: programsPath(), HOME: '/root' },
  });
  closeSync(log);
  if (child.pid === undefined) await once(child, 'spawn'); // throws what spawning threw
  child.unref();
  const pid = child.pid ?? 0;
  await writeRecord(record(name), { argv, pid } satisfies Remembered);
  return pid;
}

/** Ends a program with SIGKILL, as a crash would, and returns when it is gone. */
export async function stopProcess(name: string): Promise<void> {
  const { pid } = await remembered(name);
  if (running(pid)) process.kill(pid, 'SIGKILL');
  await until(`the end of ${name}`, () => !running(pid), { timeoutMs: STOP_TIMEOUT_MS, everyMs: 10 });
}

/** Starts a program again with the arguments it had. */
export async function startProcess(name: string): Promise<void> {
  const { argv, pid } = await remembered(name);
  if (!running(pid)) await launch(name, argv);
}

/** Returns whether a program that was started is still running. */
export async function isRunning(name: string): Promise<boolean> {
  return running((await remembered(name)).pid);
}

/** Returns the process id of a program that was started. @throws NOT_FOUND */
export async function processId(name: string): Promise<number> {
  return (await remembered(name)).pid;
}

/** Returns the end of a program's log. */
export async function logTail(name: string): Promise<string> {
  const text = await readFile(logFile(name), 'utf8').catch(() => '');
  return text.slice(-TAIL_CHARACTERS);
}

/** Returns the search path that finds the built programs first. */
export function programsPath(): string {
  return `${inCluster('bin')}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
}

/** Runs a program that was built, outside of any namespace. */
export async function runProgram(argv: readonly string[], timeoutMs = 60_000): Promise<string> {
  const done = await exec(argv, { env: { PATH: programsPath() }, timeoutMs });
  return done.stdout;
}

/**
 * A process that ended and waits to be collected does not count as running, but one whose first thread ended before the
 * others does: it still holds its sockets.
 */
function running(pid: number): boolean {
  try {
    const ended = /\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    return !ended || readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return false;
  }
}

async function remembered(name: string): Promise<Remembered> {
  const found = await readRecord<Remembered>(record(name));
  if (found === undefined) throw new CzError('NOT_FOUND', `no program "${name}" was started`);
  return found;
}

function record(name: string): string {
  return inCluster('processes', `${name}.json`);
}

function logFile(name: string): string {
  return inCluster('logs', `${name}.log`);
}
