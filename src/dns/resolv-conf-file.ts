/**
 * The file resolv.conf: where it really is, how it is read and written, and how to take ours off it when nothing else
 * is known but the file. Knows nothing of its text but the marker.
 */
import { open, readFile, realpath, stat, type FileHandle } from 'node:fs/promises';
import { codeOf } from '../base/errors.js';
import { performUndo } from '../base/undo-action.js';
import { MARKER } from './resolv-conf-text.js';

/** Behind the name of the file that is edited in place; its first line is ours, the rest is the laptop's. */
export const BACKUP_SUFFIX = '.cz-backup';
/** The mode of a resolv.conf that we make: each user's programs read it. */
export const READABLE = 0o644;

/** Removes what a crash left on resolv.conf when no journal knows of it. Returns whether there was something. */
export async function recoverResolvConf(path = '/etc/resolv.conf'): Promise<boolean> {
  const target = await targetOf(path);
  if (!(await textOf(path)).startsWith(MARKER)) return false;
  await performUndo({ kind: 'unmount', path: target, marker: MARKER });
  const backup = await textOf(target + BACKUP_SUFFIX);
  if (backup === '' || !(await textOf(path)).startsWith(MARKER)) return true;
  await writeInPlace(target, backup.slice(backup.indexOf('\n') + 1));
  await performUndo({ kind: 'remove', path: target + BACKUP_SUFFIX });
  return true;
}

/** Returns the file's text; empty where there is none. */
export async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

/** Returns the file that the path leads to; the path itself where there is none. */
export async function targetOf(path: string): Promise<string> {
  return realpath(path).catch(() => path);
}

/** Returns whether both paths lead to one and the same file: same device, same inode. */
export async function isSameFile(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([one, other].map((path) => stat(path).catch(() => undefined)));
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

/** Writes a file that keeps its inode and mode; makes it, readable for all, where there is none. @throws system codes */
export async function writeInPlace(path: string, text: string): Promise<void> {
  const file = await open(path, 'r+').catch((cause: unknown) => {
    if (codeOf(cause) === 'ENOENT') return makeReadable(path);
    throw cause;
  });
  try {
    await overwrite(file, text);
  } finally {
    await file.close();
  }
}

/** The umask of a daemon takes bits from the mode given to open(2), but not from that of fchmod(2). */
async function makeReadable(path: string): Promise<FileHandle> {
  const file = await open(path, 'w+');
  await file.chmod(READABLE);
  return file;
}

/** One write that is never shorter than what was there, then the cut: no reader sees an empty file. */
export async function overwrite(file: FileHandle, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  const { size } = await file.stat();
  const padding = Buffer.alloc(Math.max(0, size - bytes.length), '\n');
  await file.write(Buffer.concat([bytes, padding]), 0, undefined, 0);
  await file.truncate(bytes.length);
}
