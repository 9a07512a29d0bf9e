/**
 * What a watch knows: the objects by UID, the version that they are of, and who is told of changes.
 */
import { CzError, messageOf } from '../base/errors.js';
import { apiObject, isFields, optionalFields, optionalText, type Fields } from './shape.js';

export interface WatchOptions<T> {
  readonly fieldSelector?: string;
  readonly labelSelector?: string;
  /** Gets all objects, by UID: once after the list, then after each burst of changes. The map is live. */
  onChange?(objects: ReadonlyMap<string, T>): void;
  /** Gets each change, in order; a new list is told as the difference. */
  onEvent?(event: WatchEvent<T>): void;
  /** Gets what went wrong; the watch goes on. */
  onError?(error: CzError): void;
  readonly signal?: AbortSignal;
  /** Starts from these objects and their version, without a list. */
  readonly since?: { readonly resourceVersion: string; readonly objects: readonly T[] };
  /** Default 100 s. */
  readonly silenceMs?: number;
}

export interface WatchEvent<T> {
  readonly type: 'added' | 'changed' | 'removed';
  readonly object: T;
}

/** What ends `ready()`: it will not pass by itself. */
const REFUSALS = new Set([
  'NOT_PERMITTED',
  'NOT_FOUND',
  'CREDENTIAL_EXPIRED',
  'PLUGIN_FAILED',
  'API_TLS',
  'REJECTED',
]);

/** The objects of one watch; nobody is told anything once `signal` has aborted. */
export class WatchState<T> {
  readonly objects = new Map<string, T>();
  /** Resolves with the first list, rejects with the first refusal; nobody has to listen. */
  readonly ready: Promise<void>;
  /** Where the next watch begins; undefined: a new list is needed. */
  version: string | undefined;
  readonly #options: WatchOptions<T>;
  readonly #signal: AbortSignal;
  #settle: { resolve(): void; reject(error: CzError): void } | undefined;

  constructor(options: WatchOptions<T>, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.ready.catch(() => undefined);
    if (options.since === undefined) return;
    this.version = options.since.resourceVersion;
    for (const object of options.since.objects) this.objects.set(uidOf(object), object);
    this.#settle?.resolve();
  }

  /** Takes an added or changed object. */
  put(raw: Fields): void {
    const uid = uidOf(raw);
    const object = apiObject<T>(raw, 'an object');
    const type = this.objects.has(uid) ? 'changed' : 'added';
    this.objects.set(uid, object);
    this.mark(raw);
    this.#event(type, object);
  }

  remove(raw: Fields): void {
    this.objects.delete(uidOf(raw));
    this.mark(raw);
    this.#event('removed', apiObject<T>(raw, 'an object'));
  }

  /** Takes the version of an object or bookmark. */
  mark(raw: Fields): void {
    this.version = versionOf(raw) ?? this.version;
  }

  /** Takes a new list, and tells how it differs. */
  replace(found: readonly T[], version: string): void {
    const now = new Map(found.map((object) => [uidOf(object), object]));
    const gone = [...this.objects].filter(([uid]) => !now.has(uid));
    for (const [uid, object] of gone) {
      this.objects.delete(uid);
      this.#event('removed', object);
    }
    for (const [uid, object] of now) {
      const before = this.objects.get(uid);
      this.objects.set(uid, object);
      if (before === undefined) this.#event('added', object);
      else if (versionOf(before) !== versionOf(object)) this.#event('changed', object);
    }
    this.version = version;
    this.tell();
    this.#settle?.resolve();
  }

  /** Tells the present objects. */
  tell(): void {
    this.#guarded(() => this.#options.onChange?.(this.objects));
  }

  failed(error: CzError): void {
    if (REFUSALS.has(error.code)) this.#settle?.reject(error);
    this.#guarded(() => this.#options.onError?.(error));
  }

  closed(): void {
    this.#settle?.reject(new CzError('INTERRUPTED', 'the watch was closed'));
  }

  #event(type: WatchEvent<T>['type'], object: T): void {
    this.#guarded(() => this.#options.onEvent?.({ type, object }));
  }

  /** A listener that throws does not end the watch. */
  #guarded(tell: () => void): void {
    if (this.#signal.aborted) return;
    try {
      tell();
    } catch (error) {
      try {
        this.#options.onError?.(new CzError('WATCH_LISTENER', messageOf(error), { cause: error }));
      } catch {
        // the listener for errors fails as well: there is nobody left to tell
      }
    }
  }
}

function metadataOf(object: unknown): Fields {
  return isFields(object) ? (optionalFields(object, 'metadata') ?? {}) : {};
}

function uidOf(object: unknown): string {
  const uid = optionalText(metadataOf(object), 'uid');
  if (!uid) throw new TypeError('an object without metadata.uid');
  return uid;
}

function versionOf(object: unknown): string | undefined {
  return optionalText(metadataOf(object), 'resourceVersion');
}
