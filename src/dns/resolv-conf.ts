/**
 * The mechanism of plain resolv.conf: a file of ours, in the daemon's folder, is bind-mounted over it. A mount vanishes
 * at reboot, its undo is one umount, and the file below keeps its inode and content, be it a symbolic link's target
 * or itself a mount in a container. Where mounting is not permitted, the file is edited in place, a backup beside it.
 */
import { watch, type FSWatcher } from 'node:fs';
import { open, readFile, realpath, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CzError, codeOf, messageOf } from '../base/errors.js';
import { exec } from '../base/exec.js';
import { performUndo } from '../base/undo-action.js';
import type { UndoEntry } from '../base/undo.js';
import type { LaptopResolver, OsResolver, OsResolverOptions, ResolverTarget } from './os-resolver.js';
import { formatResolvConf, MARKER, parseResolvConf, type ResolvConf } from './resolv-conf-text.js';

/** Behind the name of the file that is edited in place. */
const BACKUP_SUFFIX = '.cz-backup';

/** Between a change and looking at it: writers write in several steps (our choice). */
const SETTLE_MS = 100;

/** How often we put ours back against another writer, before it may have its way (our choice). */
const CONTEST_LIMIT = 5;

/** Returns the mechanism; nothing is changed before apply(). */
export function createResolvConf(options: OsResolverOptions): OsResolver {
  const state: State = {
    ...options,
    path: options.path ?? '/etc/resolv.conf',
    ownPath: join(options.runFolder, 'resolv.conf'),
    entries: [],
    watchers: [],
    contests: 0,
    before: undefined,
    target: undefined,
    written: undefined,
    foreign: undefined,
    way: undefined,
    onChange: undefined,
    timer: undefined,
    work: Promise.resolve(),
  };
  return {
    mechanism: 'resolv.conf',
    read: async () => state.before ?? parseResolvConf(await readUncovered(state)),
    apply: (target) => inTurn(state, () => apply(state, target)),
    watch(onChange) {
      state.onChange = onChange;
      startWatching(state);
    },
    undo: () => inTurn(state, () => undo(state)),
    close: () => stopWatching(state),
  };
}

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

interface State extends OsResolverOptions {
  readonly path: string;
  readonly ownPath: string;
  /** Undo entries, oldest first. */
  entries: UndoEntry[];
  watchers: FSWatcher[];
  contests: number;
  before: ResolvConf | undefined;
  target: ResolverTarget | undefined;
  /** The text that we wrote last. */
  written: string | undefined;
  /** What another program wrote over ours: it belongs into the laptop's file when we leave. */
  foreign: string | undefined;
  way: 'mount' | 'edit' | undefined;
  onChange: ((now: LaptopResolver) => void) | undefined;
  timer: NodeJS.Timeout | undefined;
  work: Promise<unknown>;
}

/** One change after the other: undo may come while another writer's change is being followed. */
function inTurn<T>(state: State, step: () => Promise<T>): Promise<T> {
  const next = state.work.then(step);
  state.work = next.catch(() => undefined);
  return next;
}

async function apply(state: State, target: ResolverTarget): Promise<void> {
  state.target = target;
  const seen = await textOf(state.path);
  try {
    if (state.written !== undefined && seen.startsWith(MARKER)) return await rewrite(state);
    await recoverResolvConf(state.path);
    state.before = parseResolvConf(await textOf(state.path));
    await cover(state);
  } catch (cause) {
    await undo(state);
    throw new CzError('RESOLVER_FAILED', `changing "${state.path}": ${messageOf(cause)}`, { cause });
  }
}

async function cover(state: State): Promise<void> {
  const target = await targetOf(state.path);
  if (!(await mountOver(state, target))) await editInPlace(state, target);
}

async function mountOver(state: State, target: string): Promise<boolean> {
  if (!(await exists(target))) return false;
  if (state.written === undefined) {
    state.entries.push(
      await state.record('the file for resolv.conf', { kind: 'remove', path: state.ownPath }),
    );
  }
  const text = textFor(state, `umount ${state.path}`);
  await writeFile(state.ownPath, text, { mode: 0o644 });
  const entry = await state.record('resolv.conf', { kind: 'unmount', path: target, marker: MARKER });
  try {
    await exec(['mount', '--bind', state.ownPath, target]);
  } catch {
    await entry.undo();
    return false;
  }
  state.entries.push(entry);
  Object.assign(state, { written: text, way: 'mount' });
  return true;
}

async function editInPlace(state: State, target: string): Promise<void> {
  const known = await stat(target).catch(() => undefined);
  const undoing = known === undefined ? `rm ${target}` : `cp ${target}${BACKUP_SUFFIX} ${target}`;
  const text = textFor(state, undoing);
  if (known === undefined) {
    const action = { kind: 'remove', path: target, onlyIfStarts: MARKER } as const;
    state.entries.push(await state.record('resolv.conf', action));
  } else {
    const content = await readFile(target);
    const backup = target + BACKUP_SUFFIX;
    state.entries.push(await state.record("resolv.conf's backup", { kind: 'remove', path: backup }));
    await writeFile(backup, Buffer.concat([Buffer.from(`# ${target} as it was before cz\n`), content]));
    const { uid, gid } = known;
    const action = { kind: 'restore', path: target, content: content.toString('base64') } as const;
    const mode = known.mode & 0o7777;
    state.entries.push(
      await state.record('resolv.conf', { ...action, mode, uid, gid, onlyIfStarts: MARKER }),
    );
  }
  await writeInPlace(target, text);
  Object.assign(state, { written: text, way: 'edit' });
}

/** Ours is in place: only its content changes. */
async function rewrite(state: State): Promise<void> {
  const target = await targetOf(state.path);
  const undoing = state.way === 'mount' ? `umount ${state.path}` : `cp ${target}${BACKUP_SUFFIX} ${target}`;
  const text = textFor(state, undoing);
  if (text === state.written) return;
  state.written = text;
  await writeInPlace(state.way === 'mount' ? state.ownPath : target, text);
}

async function undo(state: State): Promise<void> {
  stopWatching(state);
  for (const entry of state.entries.reverse()) await entry.undo();
  if (state.foreign !== undefined && state.way === 'mount') {
    await writeInPlace(await targetOf(state.path), state.foreign);
  }
  Object.assign(state, {
    entries: [],
    written: undefined,
    foreign: undefined,
    way: undefined,
    before: undefined,
  });
}

function startWatching(state: State): void {
  const folders = new Set([dirname(state.path)]);
  void targetOf(state.path).then((target) => {
    if (state.onChange === undefined) return;
    const names = new Set([basename(state.path), basename(target)]);
    for (const folder of folders.add(dirname(target)).add(state.runFolder)) {
      const watcher = watch(folder, (_event, name) => {
        if (name === null || names.has(name)) lookLater(state);
      });
      state.watchers.push(watcher.on('error', () => watcher.close()));
    }
    lookLater(state);
  });
}

function stopWatching(state: State): void {
  state.onChange = undefined;
  clearTimeout(state.timer);
  for (const watcher of state.watchers.splice(0)) watcher.close();
}

function lookLater(state: State): void {
  clearTimeout(state.timer);
  state.timer = setTimeout(() => void inTurn(state, () => look(state)).catch(() => undefined), SETTLE_MS);
}

/** Somebody else wrote resolv.conf: their servers become the outside's, and ours is put back. */
async function look(state: State): Promise<void> {
  const { onChange, written } = state;
  if (onChange === undefined || written === undefined) return;
  const seen = await textOf(state.path);
  if (seen === written || state.contests >= CONTEST_LIMIT) return;
  state.contests++;
  if (!seen.startsWith(MARKER) && seen !== '') {
    state.before = parseResolvConf(seen);
    state.foreign = state.way === 'mount' && (await isOurMount(state)) ? seen : undefined;
    onChange(state.before);
  }
  if (state.way === 'mount' && (await isOurMount(state)))
    await writeInPlace(state.ownPath, textFor(state, `umount ${state.path}`));
  else await cover(state);
  state.written = await textOf(state.path);
}

/** Whether what is seen at the path is our file: same device, same inode. */
async function isOurMount(state: State): Promise<boolean> {
  const [own, seen] = await Promise.all([statOf(state.ownPath), statOf(state.path)]);
  return own !== undefined && seen !== undefined && own.dev === seen.dev && own.ino === seen.ino;
}

function textFor(state: State, howToUndo: string): string {
  const { before, target } = state;
  if (before === undefined || target === undefined)
    throw new CzError('RESOLVER_FAILED', 'nothing to write yet');
  return formatResolvConf(target, before, howToUndo);
}

/** The laptop's own content, also where a crash left ours over it. */
async function readUncovered(state: State): Promise<string> {
  await recoverResolvConf(state.path);
  return textOf(state.path);
}

/** One write that is never shorter than what was there, then the cut: readers see the old or the new, or the new and blank lines. */
async function writeInPlace(path: string, text: string): Promise<void> {
  const file = await open(path, 'r+').catch((cause: unknown) => {
    if (codeOf(cause) === 'ENOENT') return open(path, 'w+', 0o644);
    throw cause;
  });
  try {
    const bytes = Buffer.from(text);
    const { size } = await file.stat();
    const padding = Buffer.alloc(Math.max(0, size - bytes.length), '\n');
    await file.write(Buffer.concat([bytes, padding]), 0, undefined, 0);
    await file.truncate(bytes.length);
  } finally {
    await file.close();
  }
}

async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

/** The file that the path leads to; the path itself where there is none. */
async function targetOf(path: string): Promise<string> {
  return realpath(path).catch(() => path);
}

async function exists(path: string): Promise<boolean> {
  return (await statOf(path)) !== undefined;
}

async function statOf(path: string) {
  return stat(path).catch(() => undefined);
}
