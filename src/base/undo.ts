/**
 * The undo journal: how to take back each change to the laptop, on disk before the change is made. One JSON object
 * a line: an action, or that an action is done. Whoever finds the journal after a crash replays it, newest first.
 */
import { constants } from 'node:fs';
import { open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { CzError, codeOf, messageOf } from './errors.js';
import { integer, object, text, type Shape } from './shape.js';
import { UNDO_ACTION, performUndo, type UndoAction } from './undo-action.js';

export type { UndoAction } from './undo-action.js';

export interface UndoEntry {
  /** Takes the change back and notes that. Idempotent. @throws UNDO_FAILED naming the step */
  undo(): Promise<void>;
}

/** What a replay did: steps, newest first. */
export interface UndoReport {
  readonly undone: readonly string[];
  readonly failed: readonly { readonly step: string; readonly reason: string }[];
}

export interface Journal {
  /**
   * Puts the action on disk and returns when it is there: make the change after that.
   * @throws JOURNAL_FULL more than 10 000 pending · JOURNAL_CLOSED
   */
  record(step: string, action: UndoAction): Promise<UndoEntry>;
  /** Undoes what is pending, newest first; what fails stays pending. Never rejects for a failed action. */
  undoAll(): Promise<UndoReport>;
  /** Steps not undone yet, oldest first. */
  pending(): readonly string[];
  /** Closes the file, and removes it if nothing is pending. Idempotent. */
  close(): Promise<void>;
}

/** Pending actions at most (our choice: a session has some ten). */
const PENDING_LIMIT = 10_000;
/** The largest journal that is read, in bytes (our choice: a restore holds a small file). */
const SIZE_LIMIT_BYTES = 64 * 1024 * 1024;
/** Lines after which a journal that is mostly done is written anew. */
const COMPACT_LINES = 1000;

interface Pending {
  readonly id: number;
  readonly step: string;
  readonly action: UndoAction;
}

const pendingLine: Shape<Pending> = object({ id: integer(), step: text(1024), action: UNDO_ACTION });
const doneLine = object({ done: integer() });

/**
 * Opens the journal, or makes it (mode 0600). What a crash left pending is pending here too.
 * @throws JOURNAL_UNSAFE someone else could have written it · JOURNAL_UNREADABLE
 */
export async function openJournal(path: string): Promise<Journal> {
  const { O_RDWR, O_CREAT, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants;
  const flags = O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK;
  const file = await open(path, flags, 0o600).catch((cause: unknown) => {
    throw new CzError('JOURNAL_UNREADABLE', `opening "${path}": ${messageOf(cause)}`, { cause });
  });
  try {
    const content = await readChecked(file, path);
    if (content !== '' && !content.endsWith('\n')) await file.appendFile('\n'); // a torn line: its change was never made
    return createJournal(path, file, parseLines(content));
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Performs what a journal holds, if there is one, and removes it when all is undone. @throws as openJournal */
export async function replayJournal(path: string): Promise<UndoReport> {
  if (!(await exists(path))) return { undone: [], failed: [] };
  const journal = await openJournal(path);
  try {
    return await journal.undoAll();
  } finally {
    await journal.close();
  }
}

function createJournal(path: string, file: FileHandle, start: ParsedJournal): Journal {
  const pending = new Map(start.pending.map((entry) => [entry.id, entry]));
  const store = createStore(path, file, start.lines);
  const inTurn = createTurns();
  let { nextId } = start;

  const undoOne = async ({ id, step, action }: Pending): Promise<void> => {
    if (!pending.has(id)) return;
    await performUndo(action).catch((cause: unknown) => {
      throw new CzError('UNDO_FAILED', `undoing ${step}: ${messageOf(cause)}`, { cause });
    });
    pending.delete(id);
    await store.append({ done: id });
    await store.compact(pending);
  };
  const recordOne = async (step: string, action: UndoAction): Promise<Pending> => {
    if (pending.size >= PENDING_LIMIT) throw new CzError('JOURNAL_FULL', `the journal "${path}" is full`);
    const entry = pendingLine({ id: nextId, step, action }, 'undo');
    nextId += 1;
    await store.append(entry);
    pending.set(entry.id, entry);
    return entry;
  };

  return {
    record: (step, action) =>
      inTurn(async () => {
        const entry = await recordOne(step, action);
        return { undo: () => inTurn(() => undoOne(entry)) };
      }),
    undoAll: () => inTurn(() => undoEach([...pending.values()].reverse(), undoOne, start.unknown)),
    pending: () => [...pending.values()].map(({ step }) => step),
    close: () => inTurn(() => store.close(pending.size === 0 && start.unknown.length === 0)),
  };
}

async function undoEach(
  entries: readonly Pending[],
  undoOne: (entry: Pending) => Promise<void>,
  unknown: readonly string[],
): Promise<UndoReport> {
  const undone: string[] = [];
  const failed = unknown.map((reason) => ({ step: 'journal', reason }));
  for (const entry of entries) {
    try {
      await undoOne(entry);
      undone.push(entry.step);
    } catch (error) {
      failed.push({ step: entry.step, reason: messageOf(error) });
    }
  }
  return { undone, failed };
}

/** Returns a function that runs work one after the other. */
function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let queue: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = queue.then(work);
    queue = result.catch(() => undefined);
    return result;
  };
}

interface Store {
  /** @throws JOURNAL_CLOSED */
  append(line: object): Promise<void>;
  /** Writes the file anew when most of its lines are done. */
  compact(pending: ReadonlyMap<number, Pending>): Promise<void>;
  close(removed: boolean): Promise<void>;
}

function createStore(path: string, opened: FileHandle, linesAtStart: number): Store {
  let [file, lines, closed] = [opened, linesAtStart, false];
  return {
    async append(line) {
      if (closed) throw new CzError('JOURNAL_CLOSED', `the journal "${path}" is closed`);
      await file.appendFile(`${JSON.stringify(line)}\n`);
      await file.datasync();
      lines += 1;
    },
    async compact(pending) {
      if (lines < COMPACT_LINES || pending.size > lines / 2) return;
      const fresh = await rewrite(path, [...pending.values()]);
      await file.close();
      [file, lines] = [fresh, pending.size];
    },
    async close(removed) {
      if (closed) return;
      closed = true;
      if (removed) await unlink(path).catch(ignoreMissing);
      await file.close();
    },
  };
}

interface ParsedJournal {
  readonly pending: readonly Pending[];
  /** Whole lines of a kind that this version does not know. */
  readonly unknown: readonly string[];
  readonly lines: number;
  readonly nextId: number;
}

/** Unparsable text is a line that a crash tore; a whole line that says something unknown is kept and reported. */
function parseLines(content: string): ParsedJournal {
  const pending = new Map<number, Pending>();
  const unknown: string[] = [];
  const lines = content.split('\n').filter((line) => line !== '');
  let nextId = 1;
  for (const [index, line] of lines.entries()) {
    const value = parseJson(line);
    if (value === undefined) continue;
    try {
      const entry = read(value);
      if ('done' in entry) pending.delete(entry.done);
      else pending.set(entry.id, entry);
      nextId = Math.max(nextId, ('done' in entry ? entry.done : entry.id) + 1);
    } catch (error) {
      unknown.push(`line ${index + 1}: ${messageOf(error)}`);
    }
  }
  return { pending: [...pending.values()], unknown, lines: lines.length, nextId };
}

function read(value: unknown): Pending | { readonly done: number } {
  const isDone = typeof value === 'object' && value !== null && 'done' in value;
  return isDone ? doneLine(value, 'line') : pendingLine(value, 'line');
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** It is root who replays: the file must be a regular one of our own user that nobody else can write. */
async function readChecked(file: FileHandle, path: string): Promise<string> {
  const { uid, mode, size } = await file.stat();
  const isRegular = (mode & constants.S_IFMT) === constants.S_IFREG;
  if (!isRegular || uid !== process.geteuid?.() || (mode & 0o022) !== 0) {
    throw new CzError('JOURNAL_UNSAFE', `the journal "${path}" could have been written by somebody else`, {
      hint: `look at it, and remove it: rm ${path}`,
    });
  }
  if (size > SIZE_LIMIT_BYTES) throw new CzError('JOURNAL_UNREADABLE', `the journal "${path}" is too large`);
  return file.readFile('utf8');
}

/** Writes a journal of only these and puts it in the place of the old one; returns it opened for appending. */
async function rewrite(path: string, entries: readonly Pending[]): Promise<FileHandle> {
  const fresh = `${path}.new`;
  await unlink(fresh).catch(ignoreMissing);
  const file = await open(fresh, 'ax', 0o600);
  await file.appendFile(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
  await file.datasync();
  await rename(fresh, path);
  return file;
}

async function exists(path: string): Promise<boolean> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  await file?.close();
  return file !== undefined;
}

function ignoreMissing(error: unknown): void {
  if (codeOf(error) !== 'ENOENT') throw error;
}
