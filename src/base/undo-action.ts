/**
 * The undo actions: data, so that a program that knows nothing else can perform them after a crash. Each is
 * idempotent, and harmless when the change that it belongs to never happened. undo.ts keeps them on disk.
 */
import { constants } from 'node:fs';
import { open, readFile, realpath, unlink, type FileHandle } from 'node:fs/promises';
import { CzError, codeOf } from './errors.js';
import { exec } from './exec.js';
import { integer, list, object, oneOf, text, variant, type Shape } from './shape.js';

/** Runs a command. `okCodes`: also those that it gives when there is nothing to undo; default only 0. */
interface RunAction {
  readonly kind: 'run';
  readonly argv: readonly string[];
  readonly okCodes?: readonly number[];
}

/** Unmounts what is mounted on the file, as long as the file seen there starts with the marker. */
interface UnmountAction {
  readonly kind: 'unmount';
  readonly path: string;
  readonly marker: string;
}

/** Writes a file back in place (its inode stays, as bind mounts need). Only if it now starts with `onlyIfStarts`. */
interface RestoreAction {
  readonly kind: 'restore';
  readonly path: string;
  /** Base64. */
  readonly content: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly onlyIfStarts?: string;
}

/** Removes a file or symbolic link. Only if it starts with `onlyIfStarts`, where given. */
interface RemoveAction {
  readonly kind: 'remove';
  readonly path: string;
  readonly onlyIfStarts?: string;
}

export type UndoAction = RunAction | UnmountAction | RestoreAction | RemoveAction;

/** Long enough for any umount, nft or ip; an undo must be over within a second in the usual case. */
const RUN_TIMEOUT_MS = 5000;
/** Mounts of ours that may lie on top of each other after crashes (our choice). */
const STACKED_MOUNTS_LIMIT = 16;
/** Where programs are looked for: the journal's reader has no environment to trust. */
const PLAIN_ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

const path = text(4096, /^\//);
const marker = text(1024, /^./);
const restored = text(4 * 1024 * 1024, /^[A-Za-z0-9+/]*={0,2}$/);

/** The shape of an action read from disk. */
export const UNDO_ACTION: Shape<UndoAction> = variant<UndoAction>('kind', {
  run: object({ kind: oneOf('run'), argv: list(text(4096), 64) }, { okCodes: list(integer(0, 255), 32) }),
  unmount: object({ kind: oneOf('unmount'), path, marker }),
  restore: object(
    {
      kind: oneOf('restore'),
      path,
      content: restored,
      mode: integer(0, 0o7777),
      uid: integer(),
      gid: integer(),
    },
    { onlyIfStarts: marker },
  ),
  remove: object({ kind: oneOf('remove'), path }, { onlyIfStarts: marker }),
});

/** Performs the action; done twice it does nothing more. @throws EXEC_FAILED, TIMED_OUT, EXEC_MISSING, system codes */
export async function performUndo(action: UndoAction): Promise<void> {
  switch (action.kind) {
    case 'run':
      await exec(action.argv, { ...quick(action.okCodes), env: PLAIN_ENV, cwd: '/' });
      return;
    case 'unmount':
      return unmount(action);
    case 'restore':
      return restore(action);
    case 'remove':
      return remove(action);
  }
}

function quick(okCodes: readonly number[] | undefined) {
  return { timeoutMs: RUN_TIMEOUT_MS, ...(okCodes === undefined ? {} : { okCodes }) };
}

async function unmount({ path, marker }: UnmountAction): Promise<void> {
  for (let count = 0; count < STACKED_MOUNTS_LIMIT; count += 1) {
    const target = await missingOk(realpath(path));
    if (target === undefined || !(await isMountPoint(target)) || !(await startsWith(target, marker))) return;
    await exec(['umount', '-l', target], { ...quick(undefined), env: PLAIN_ENV, cwd: '/' });
  }
  throw new CzError('UNDO_FAILED', `unmounting "${path}": mounted again and again`);
}

/** proc(5), mountinfo: the fifth field is the mount point, with \ooo for blanks. */
async function isMountPoint(target: string): Promise<boolean> {
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  return table.split('\n').some((line) => unescapeOctal(line.split(' ')[4] ?? '') === target);
}

function unescapeOctal(field: string): string {
  return field.replaceAll(/\\([0-7]{3})/g, (_, code: string) => String.fromCodePoint(parseInt(code, 8)));
}

async function restore(action: RestoreAction): Promise<void> {
  const { path, onlyIfStarts } = action;
  if (onlyIfStarts !== undefined && !(await startsWith(path, onlyIfStarts))) return;
  const writable = await open(path, constants.O_RDWR | constants.O_CREAT, action.mode);
  try {
    await overwrite(writable, Buffer.from(action.content, 'base64'));
    await writable.chown(action.uid, action.gid);
    await writable.chmod(action.mode);
    await writable.sync();
  } finally {
    await writable.close();
  }
}

/**
 * Replaces the content without a moment in which the file is empty: one write, padded with newlines to the length
 * that was, then cut.
 */
async function overwrite(file: FileHandle, content: Buffer): Promise<void> {
  const { size } = await file.stat();
  const padding = Buffer.alloc(Math.max(0, size - content.length), '\n');
  await file.write(Buffer.concat([content, padding]), 0, undefined, 0);
  await file.truncate(content.length);
}

async function remove({ path, onlyIfStarts }: RemoveAction): Promise<void> {
  if (onlyIfStarts !== undefined && !(await startsWith(path, onlyIfStarts))) return;
  await missingOk(unlink(path));
}

async function startsWith(path: string, marker: string): Promise<boolean> {
  const wanted = Buffer.from(marker);
  const file = await missingOk(open(path, 'r'));
  if (file === undefined) return false;
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(wanted.length), 0, wanted.length, 0);
    return bytesRead === wanted.length && buffer.equals(wanted);
  } finally {
    await file.close();
  }
}

async function missingOk<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
