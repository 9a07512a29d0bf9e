/**
 * The mechanism of plain resolv.conf: a file of ours, in the daemon's folder, is bind-mounted over it. A mount vanishes
 * at reboot, its undo is one umount, and the file below keeps its inode and content, be it a symbolic link's target
 * or itself a mount in a container. Where mounting is not permitted, the file is edited in place, a backup beside it.
 */
import { chmod, open, readFile, stat, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { CzError, messageOf } from '../base/errors.js';
import { exec } from '../base/exec.js';
import type { UndoEntry } from '../base/undo.js';
import { openFileWatch, type FileWatch } from './file-watch.js';
import type { LaptopResolver, OsResolver, OsResolverOptions, ResolverTarget } from './os-resolver.js';
import {
  BACKUP_SUFFIX,
  isSameFile,
  overwrite,
  READABLE,
  recoverResolvConf,
  targetOf,
  textOf,
  writeInPlace,
} from './resolv-conf-file.js';
import { formatResolvConf, MARKER, parseResolvConf, type ResolvConf } from './resolv-conf-text.js';

/**
 * Where NetworkManager says what the network gave, whatever it makes of resolv.conf (NetworkManager.conf(5), rc-manager). It
 * replaces files by renaming, which a mount forbids: without this its news would not reach us.
 */
const NETWORK_MANAGER_PATH = '/run/NetworkManager/no-stub-resolv.conf';

/** How often within that time we put ours back against another writer, before it may have its way (our choice). */
const CONTEST_LIMIT = 5;
const CONTEST_MS = 30_000;

/** Returns the mechanism; nothing is changed before apply(). */
export function createResolvConf(options: OsResolverOptions): OsResolver {
  const state: State = {
    ...options,
    path: options.path ?? '/etc/resolv.conf',
    ownPath: join(options.runFolder, 'resolv.conf'),
    entries: [],
    contests: [],
    before: undefined,
    target: undefined,
    placed: undefined,
    watch: undefined,
    work: Promise.resolve(),
  };
  return {
    mechanism: 'resolv.conf',
    read: () => inTurn(state, () => read(state)),
    apply: (target) => inTurn(state, () => apply(state, target)),
    watch: (onChange) => startWatching(state, onChange),
    undo: () => inTurn(state, () => undo(state)),
    close: () => stopWatching(state),
  };
}

interface State extends OsResolverOptions {
  readonly path: string;
  readonly ownPath: string;
  /** Undo entries, oldest first. */
  entries: UndoEntry[];
  /** When ours was put back against another writer. */
  contests: number[];
  before: ResolvConf | undefined;
  target: ResolverTarget | undefined;
  placed: Placed | undefined;
  watch: FileWatch | undefined;
  work: Promise<unknown>;
}

/** How ours came to be seen. */
interface Placed {
  /** The text that we wrote last. */
  text: string;
  readonly howToUndo: string;
  readonly writtenTo: string;
  /** The laptop's own file below our mount; none where it is edited, or may not be written. */
  readonly below: FileHandle | undefined;
}

/** One change after the other: undo may come while another writer's change is being followed. */
function inTurn<T>(state: State, step: () => Promise<T>): Promise<T> {
  const next = state.work.then(step);
  state.work = next.catch(() => undefined);
  return next;
}

/** The laptop's own, also where a crash left ours over it. */
async function read(state: State): Promise<LaptopResolver> {
  if (state.before !== undefined) return state.before;
  await recoverResolvConf(state.path);
  return parseResolvConf(await textOf(state.path));
}

async function apply(state: State, target: ResolverTarget): Promise<void> {
  state.target = target;
  try {
    if (state.placed !== undefined) return await rewrite(state, state.placed);
    await recoverResolvConf(state.path);
    state.before = parseResolvConf(await textOf(state.path));
    state.placed = await place(state);
  } catch (cause) {
    await undo(state);
    throw new CzError('RESOLVER_FAILED', `changing "${state.path}": ${messageOf(cause)}`, { cause });
  }
}

async function place(state: State): Promise<Placed> {
  const target = await targetOf(state.path);
  return (await mountOver(state, target)) ?? (await editInPlace(state, target));
}

/** Undefined where there is nothing to mount over, or mounting is not permitted. */
async function mountOver(state: State, target: string): Promise<Placed | undefined> {
  if ((await stat(target).catch(() => undefined)) === undefined) return undefined;
  const below = await open(target, 'r+').catch(() => undefined);
  const howToUndo = `umount ${state.path}`;
  const text = textFor(state, howToUndo);
  await note(state, 'the file for resolv.conf', { kind: 'remove', path: state.ownPath });
  await writeFile(state.ownPath, text);
  await chmod(state.ownPath, READABLE); // every program reads it, whatever our umask
  await note(state, 'resolv.conf', { kind: 'unmount', path: target, marker: MARKER });
  try {
    await exec(['mount', '--bind', state.ownPath, target]);
  } catch {
    await below?.close();
    await undoEntries(state);
    return undefined;
  }
  return { text, howToUndo, writtenTo: state.ownPath, below };
}

async function editInPlace(state: State, target: string): Promise<Placed> {
  const known = await stat(target).catch(() => undefined);
  const backup = target + BACKUP_SUFFIX;
  const howToUndo = known === undefined ? `rm ${target}` : `cp ${backup} ${target}`;
  const text = textFor(state, howToUndo);
  if (known === undefined) {
    await note(state, 'resolv.conf', { kind: 'remove', path: target, onlyIfStarts: MARKER });
  } else {
    const content = await readFile(target);
    await note(state, "resolv.conf's backup", { kind: 'remove', path: backup });
    await writeFile(backup, Buffer.concat([Buffer.from(`# ${target} as it was before cz\n`), content]));
    const { uid, gid } = known;
    const owner = { mode: known.mode & 0o7777, uid, gid, onlyIfStarts: MARKER };
    const action = { kind: 'restore', path: target, content: content.toString('base64'), ...owner } as const;
    await note(state, 'resolv.conf', action);
  }
  await writeInPlace(target, text);
  return { text, howToUndo, writtenTo: target, below: undefined };
}

async function note(state: State, ...entry: Parameters<State['record']>): Promise<void> {
  state.entries.push(await state.record(...entry));
}

/** Ours is in place: only its content changes. */
async function rewrite(state: State, placed: Placed): Promise<void> {
  const text = textFor(state, placed.howToUndo);
  if (text === placed.text) return;
  placed.text = text;
  await writeInPlace(placed.writtenTo, text);
}

async function undo(state: State): Promise<void> {
  stopWatching(state);
  await undoEntries(state);
  await state.placed?.below?.close();
  Object.assign(state, { placed: undefined, before: undefined, target: undefined });
}

async function undoEntries(state: State): Promise<void> {
  for (const entry of state.entries.splice(0).reverse()) await entry.undo();
}

function startWatching(state: State, onChange: (now: LaptopResolver) => void): void {
  stopWatching(state);
  const look = (path: string) => {
    const step = path === NETWORK_MANAGER_PATH ? followNetworkManager : followFile;
    void inTurn(state, () => step(state, onChange)).catch(() => undefined);
  };
  state.watch = openFileWatch([state.path, state.ownPath, NETWORK_MANAGER_PATH], look);
}

function stopWatching(state: State): void {
  state.watch?.close();
  state.watch = undefined;
}

/** Somebody else wrote resolv.conf: their servers become the outside's, and ours is put back. */
async function followFile(state: State, onChange: (now: LaptopResolver) => void): Promise<void> {
  const { placed } = state;
  if (placed === undefined || state.watch === undefined) return;
  const seen = await textOf(state.path);
  if (seen === placed.text || isContested(state)) return;
  const covered = placed.writtenTo === state.ownPath && (await isSameFile(state.ownPath, state.path));
  if (!seen.startsWith(MARKER) && seen !== '') await adopt(state, placed, seen, onChange);
  if (covered) {
    placed.text = textFor(state, placed.howToUndo);
    return writeInPlace(placed.writtenTo, placed.text);
  }
  await placed.below?.close();
  state.placed = await place(state);
}

/** Notes that ours is put back; true when that was too often of late. */
function isContested(state: State): boolean {
  const now = Date.now();
  state.contests = [...state.contests.filter((at) => now - at < CONTEST_MS), now];
  return state.contests.length > CONTEST_LIMIT;
}

async function followNetworkManager(state: State, onChange: (now: LaptopResolver) => void): Promise<void> {
  const { placed } = state;
  const text = await textOf(NETWORK_MANAGER_PATH);
  if (placed === undefined || state.watch === undefined || !text.includes('nameserver')) return;
  await adopt(state, placed, text, onChange);
  await rewrite(state, placed);
}

/** The laptop's own file gets the new text at once, so that a crash leaves it with the servers of today's network. */
async function adopt(
  state: State,
  placed: Placed,
  text: string,
  onChange: (now: LaptopResolver) => void,
): Promise<void> {
  const kept = state.before?.kept ?? [];
  const now = parseResolvConf(text);
  state.before = { ...now, kept: now.kept.length === 0 ? kept : now.kept };
  if (placed.below !== undefined) await overwrite(placed.below, text);
  onChange({ servers: now.servers, search: now.search });
}

function textFor(state: State, howToUndo: string): string {
  const { before, target } = state;
  if (before === undefined || target === undefined)
    throw new CzError('RESOLVER_FAILED', 'nothing to write yet');
  return formatResolvConf(target, before, howToUndo);
}
