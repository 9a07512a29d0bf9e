/**
 * The end of a file, and what is added to it. The file may be cut (the log is bounded) or replaced (a new daemon).
 */
import { watch } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { codeOf } from '../base/errors.js';

/** The last part that is looked at, in bytes; a log file is no larger than a few of these. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** Returns the last lines of the file, at most `count`. @throws ENOENT, EACCES */
export async function lastLines(path: string, count: number): Promise<string[]> {
  const { size } = await stat(path);
  const from = Math.max(0, size - WINDOW_BYTES);
  const lines = (await readFrom(path, from)).split('\n').filter((line) => line !== '');
  if (from > 0) lines.shift(); // cut in the middle
  return count === 0 ? [] : lines.slice(-count);
}

/** Calls `onLine` for each whole line that is added from now on, until the signal aborts. */
export async function followLines(
  path: string,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const before = await identity(path);
  let [position, inode, rest] = [before.size, before.ino, ''];
  const takeNew = async () => {
    const now = await identity(path);
    if (now.ino !== inode || now.size < position) [position, inode, rest] = [0, now.ino, ''];
    if (now.size === position) return;
    const text = rest + (await readFrom(path, position));
    position = now.size;
    const lines = text.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') onLine(line);
  };
  let work: Promise<void> = Promise.resolve();
  const folder = path.slice(0, path.lastIndexOf('/')) || '/';
  const watcher = watch(folder, () => void (work = work.then(takeNew)));
  await new Promise<void>((resolve, reject) => {
    watcher.once('error', reject);
    signal.addEventListener('abort', () => resolve(), { once: true });
    if (signal.aborted) resolve();
  }).finally(() => watcher.close());
  await work;
}

async function identity(path: string): Promise<{ readonly size: number; readonly ino: number }> {
  return stat(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return { size: 0, ino: 0 };
    throw error;
  });
}

async function readFrom(path: string, from: number): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.max(0, Math.min(size - from, WINDOW_BYTES)));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
