/**
 * Follows a collection: lists it, then watches it from the list's version, and starts again as it must: with the last
 * version after a broken connection, with a new list when that version is gone (410). Silence is a fault: bookmarks come
 * about once a minute.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
import type { IncomingMessage } from 'node:http';
import { createBackoff, pause } from '../base/backoff.js';
import { CzError, hasCode, messageOf } from '../base/errors.js';
import type { ClusterAccess } from './access.js';
import { createLineCutter } from './lines.js';
import { withQuery } from './path.js';
import { apiObject, fields, listOf, optionalFields, optionalText, type Fields } from './shape.js';
import { ApiError, apiError } from './status.js';
import type { Transport } from './transport.js';
import { WatchState, type WatchOptions } from './watch-state.js';

export type { WatchEvent, WatchOptions } from './watch-state.js';

export interface Watch<T> {
  /** All objects, by UID; live. */
  readonly objects: ReadonlyMap<string, T>;
  /** Resolves when the first list is there; rejects with the first refusal (rights, credential), or when closed. */
  ready(): Promise<void>;
  /** Idempotent. No callback comes after it. */
  close(): void;
}

/** The API server sends bookmarks about every 60 s (k8s.io/apiserver, cacher: bookmarkFrequency). */
const SILENCE_MS = 100_000;
const PAGE = 500;
const LIST_TIMEOUT_MS = 30_000;
const OPEN_TIMEOUT_MS = 15_000;
const FIRST_WAIT_MS = 200;
/** Longest wait after a break (our choice: back within seconds of the way's return). */
const LONGEST_WAIT_MS = 3_000;
/** Longest wait after a refusal, which seldom passes by itself (our choice). */
const REFUSED_WAIT_MS = 30_000;
/** A watch that lived this long is opened again at once (our choice; the server ends them after minutes). */
const STEADY_MS = 5_000;

/** Starts to follow the collection at `path`. */
export function startWatch<T>(
  transport: Transport,
  access: ClusterAccess,
  path: string,
  options: WatchOptions<T>,
): Watch<T> {
  const closing = new AbortController();
  const enders = [transport.closed, ...(options.signal === undefined ? [] : [options.signal])];
  const close = () => {
    closing.abort();
    for (const ender of enders) ender.removeEventListener('abort', close);
  };
  for (const ender of enders) ender.addEventListener('abort', close, { once: true });
  if (enders.some(({ aborted }) => aborted)) close();
  const state = new WatchState(options, closing.signal);
  void follow({ transport, access, path, options, state, signal: closing.signal });
  return { objects: state.objects, ready: () => state.ready, close };
}

interface Follower<T> {
  readonly transport: Transport;
  readonly access: ClusterAccess;
  readonly path: string;
  readonly options: WatchOptions<T>;
  readonly state: WatchState<T>;
  readonly signal: AbortSignal;
}

/** Runs until closed; never rejects. */
async function follow<T>(f: Follower<T>): Promise<void> {
  const broken = createBackoff(FIRST_WAIT_MS, LONGEST_WAIT_MS);
  const refused = createBackoff(FIRST_WAIT_MS, REFUSED_WAIT_MS);
  while (!f.signal.aborted) {
    const started = Date.now();
    let backoff = broken;
    try {
      if (f.state.version === undefined) await list(f);
      await watchOnce(f);
    } catch (error) {
      if (f.signal.aborted) break;
      const relist = hasCode(error, 'GONE') && f.state.version !== undefined;
      if (relist) f.state.version = undefined;
      else f.state.failed(asCzError(error, f.path));
      if (!relist && isRefusal(error)) backoff = refused;
    }
    if (Date.now() - started > STEADY_MS) for (const each of [broken, refused]) each.reset();
    else await pause(backoff.next(), f.signal);
  }
  f.state.closed();
}

/** Rights, credential, a missing resource: nothing that passes as an outage does. */
function isRefusal(error: unknown): boolean {
  return error instanceof ApiError && [401, 403, 404].includes(error.httpStatus);
}

function asCzError(error: unknown, path: string): CzError {
  if (error instanceof CzError) return error;
  return new CzError('API_FAILED', `watching ${path}: ${messageOf(error)}`, { cause: error });
}

async function list<T>(f: Follower<T>): Promise<void> {
  const found: T[] = [];
  let version = '';
  for (let next: string | undefined = ''; next !== undefined;) {
    const page: Page<T> = await listPage(f, next);
    found.push(...page.items);
    version = page.version;
    next = page.next;
  }
  f.state.replace(found, version);
}

interface Page<T> {
  readonly items: readonly T[];
  readonly version: string;
  readonly next: string | undefined;
}

async function listPage<T>(
  { transport, path, options, signal }: Follower<T>,
  next: string,
): Promise<Page<T>> {
  const query = { ...selectors(options), limit: String(PAGE), ...(next === '' ? {} : { continue: next }) };
  const request = {
    method: 'GET',
    path: withQuery(path, query),
    timeoutMs: LIST_TIMEOUT_MS,
    signal,
  } as const;
  const answer = fields(JSON.parse((await transport.send(request)).toString('utf8')), 'the list');
  const metadata = optionalFields(answer, 'metadata') ?? {};
  return {
    items: listOf(answer, 'items').map((item) => apiObject<T>(item, 'an item')),
    version: optionalText(metadata, 'resourceVersion') ?? '',
    next: optionalText(metadata, 'continue') || undefined,
  };
}

/** Watches from the last version until the server ends it. */
async function watchOnce<T>(f: Follower<T>): Promise<void> {
  const { options, state } = f;
  const timeoutSeconds = String(300 + Math.floor(Math.random() * 300)); // as client-go: 5 to 10 minutes, spread
  const more = { watch: '1', allowWatchBookmarks: 'true', resourceVersion: state.version, timeoutSeconds };
  const path = withQuery(f.path, { ...selectors(options), ...more });
  const request = { method: 'GET', path, timeoutMs: OPEN_TIMEOUT_MS, signal: f.signal } as const;
  await readEvents(f, await f.transport.open(request));
}

async function readEvents<T>(f: Follower<T>, stream: IncomingMessage): Promise<void> {
  const cut = createLineCutter();
  const silenceMs = f.options.silenceMs ?? SILENCE_MS;
  const watchdog = setTimeout(
    () =>
      stream.destroy(new CzError('API_UNREACHABLE', `the API server was silent for ${silenceMs / 1000} s`)),
    silenceMs,
  );
  try {
    for await (const chunk of stream) {
      watchdog.refresh();
      if (Buffer.isBuffer(chunk)) takeLines(f, cut(chunk));
    }
  } finally {
    clearTimeout(watchdog);
    stream.destroy();
  }
}

function takeLines<T>(f: Follower<T>, lines: readonly string[]): void {
  let changed = false;
  for (const line of lines) {
    const event = fields(JSON.parse(line), 'a watch event');
    const object = fields(event['object'], 'the object of a watch event');
    changed = takeEvent(f, optionalText(event, 'type') ?? '', object) || changed;
  }
  if (changed) f.state.tell();
}

/** Returns whether the objects changed. */
function takeEvent<T>(f: Follower<T>, type: string, object: Fields): boolean {
  const { state } = f;
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
      state.put(object);
      return true;
    case 'DELETED':
      state.remove(object);
      return true;
    case 'BOOKMARK':
      state.mark(object);
      return false;
    case 'ERROR':
      throw statusError(f, object);
    default:
      throw new TypeError(`an event of the unknown type "${type.slice(0, 40)}"`);
  }
}

function statusError<T>({ access, path }: Follower<T>, status: Fields): CzError {
  const code = Number(status['code']);
  const httpStatus = code >= 400 && code < 600 ? code : 500;
  return apiError({
    access,
    identity: undefined,
    httpStatus,
    body: JSON.stringify(status),
    asked: `watch ${path}`,
  });
}

function selectors<T>({ fieldSelector, labelSelector }: WatchOptions<T>) {
  return { fieldSelector, labelSelector };
}
