/**
 * From a question's bytes to an answer's: the cache first, without a wait; else the policy says whom to ask, equal
 * questions share one asking, and what comes back is kept as long as its TTL says. While the cluster cannot be asked,
 * its known names are answered from the cache and unknown ones fail at once. RFC 1035 §4, RFC 2308, RFC 8767.
 */
import type { Log } from '../base/log.js';
import { messageOf } from '../base/errors.js';
import { respond, respondWithCode, type Entry } from './answer.js';
import type { Cache } from './cache.js';
import { createLookup, type Lookup } from './lookup.js';
import type { Names } from './names.js';
import { nameOfKey, readQuery, type Query } from './query.js';
import type { Upstream } from './upstream.js';
import { RCODE, type WireName } from './wire.js';

export interface ResolverStats {
  readonly questions: number;
  readonly fromCache: number;
  readonly failures: number;
  readonly cacheEntries: number;
}

export interface Resolver {
  /**
   * Returns the response, at once where the cache has it; undefined for bytes that get none. Never throws, never
   * rejects. `bytes` may be reused after the call only if the answer came at once.
   */
  handle(bytes: Buffer, limitBytes: number): Buffer | undefined | Promise<Buffer | undefined>;
  /** Takes another policy; forgets the answers that `affected` says it changes. */
  setNames(names: Names, affected: (name: WireName) => boolean): void;
  /** Says whether the cluster can be asked; questions to it that wait are given up when not. */
  setReachable(reachable: boolean): void;
  /** Answers this name (small letters) by `answer` from now on; returns how to end that. Used for the probe. */
  intercept(name: WireName, answer: (query: Query) => Buffer): () => void;
  readonly stats: ResolverStats;
}

export interface ResolverOptions {
  readonly names: Names;
  readonly cluster: Upstream;
  readonly outside: Upstream;
  readonly cache: Cache;
  readonly log: Log;
  /** Milliseconds since some moment; default the clock's (it goes on while a laptop sleeps). */
  readonly nowMs?: () => number;
}

/** Questions that wait for an answer at once; further ones fail (our choice: a browser's restart asks some hundred). */
const WAITING_LIMIT = 1024;

/** Returns a resolver. */
export function createResolver(options: ResolverOptions): Resolver {
  const nowMs = options.nowMs ?? Date.now;
  const { cache } = options;
  const lookup = createLookup({ ...options, nowMs });
  const intercepted = new Map<WireName, (query: Query) => Buffer>();
  const counts = { questions: 0, fromCache: 0, failures: 0 };
  let waiting = 0;
  const answerLater = async (query: Query, limitBytes: number): Promise<Buffer> => {
    waiting++;
    const entry = await lookupOrFail(lookup, query, options.log);
    waiting--;
    if (entry === undefined) counts.failures++;
    return entry === undefined
      ? respondWithCode(query, RCODE.serverFailure)
      : respond(query, entry, nowMs(), limitBytes);
  };
  return {
    handle(bytes, limitBytes) {
      const query = readQuery(bytes);
      if (query === undefined) return undefined;
      counts.questions++;
      if ('refused' in query) return respondWithCode(query, query.refused);
      const now = nowMs();
      const known = cache.get(query.key);
      if (known !== undefined && (now < known.expiresAtMs || (known.fromCluster && !lookup.reachable))) {
        counts.fromCache++;
        return respond(query, known, now, limitBytes);
      }
      const special = intercepted.size === 0 ? undefined : intercepted.get(nameOfKey(query.key));
      if (special !== undefined) return special(query);
      if (waiting >= WAITING_LIMIT) return respondWithCode(query, RCODE.serverFailure);
      return answerLater(query, limitBytes);
    },
    setNames(names, affected) {
      lookup.setNames(names);
      cache.forget((key) => affected(nameOfKey(key)));
    },
    setReachable: (reachable) => lookup.setReachable(reachable),
    intercept(name, answer) {
      intercepted.set(name, answer);
      return () => void intercepted.delete(name);
    },
    get stats() {
      return { ...counts, cacheEntries: cache.size };
    },
  };
}

async function lookupOrFail(lookup: Lookup, query: Query, log: Log): Promise<Entry | undefined> {
  try {
    return await lookup.find(query.key);
  } catch (cause) {
    log.debug('a name could not be looked up', { reason: messageOf(cause) });
    return undefined;
  }
}
