/** One command at a time changes the cluster: a lock file with its holder's process id, void when that process is gone. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { codeOf } from '../../../src/base/errors.js';
import { CLUSTER_DIR } from './settings.js';
import { until } from './until.js';

/** The longest that a command waits for another: a first `up` may be compiling. */
const LOCK_TIMEOUT_MS = 30 * 60_000;
const FILE = `${CLUSTER_DIR}.lock`;

/** Returns what `work` returns; no other command's `work` runs meanwhile. */
export async function locked<T>(work: () => Promise<T>): Promise<T> {
  await mkdir(path.dirname(FILE), { recursive: true });
  await until('the end of another cluster command', take, { timeoutMs: LOCK_TIMEOUT_MS, everyMs: 50 });
  try {
    return await work();
  } finally {
    await rm(FILE, { force: true });
  }
}

async function take(): Promise<boolean> {
  try {
    await writeFile(FILE, `${process.pid}\n`, { flag: 'wx' });
    return true;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    await dropStale();
    return false;
  }
}

async function dropStale(): Promise<void> {
  const holder = Number(await readFile(FILE, 'utf8').catch(() => ''));
  if (holder > 0 && !alive(holder)) await rm(FILE, { force: true });
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}
