/**
 * What the cache does not have: asks the cluster or the outside as the policy says, follows aliases that lead out of the
 * cluster, and keeps the result. Equal questions share one asking. Short names are looked up under their full ones, so
 * that every spelling of a Service shares what is known of it.
 */
import { CzError } from '../base/errors.js';
import { openAlias } from './aliases.js';
import type { Entry } from './answer.js';
import type { Cache } from './cache.js';
import {
  entryOf,
  isDefinite,
  isUnknown,
  negativeEntry,
  outsideEntryOf,
  questionOf,
  renamed,
} from './entries.js';
import { parseMessage, rcodeOf, type Message, type ResourceRecord } from './message.js';
import type { Names, Route } from './names.js';
import { keyFor, nameOfKey } from './query.js';
import { createImpatientAsk } from './silence.js';
import type { Upstream } from './upstream.js';
import { isWithin, lowerName, TYPE, type WireName } from './wire.js';

export interface Lookup {
  /** Returns the answer for a key; it may be an expired one while the cluster cannot be asked. @throws when there is none */
  find(key: string): Promise<Entry>;
  setNames(names: Names): void;
  setReachable(reachable: boolean): void;
  readonly reachable: boolean;
}

export interface LookupOptions {
  readonly names: Names;
  readonly cluster: Upstream;
  readonly outside: Upstream;
  readonly cache: Cache;
  readonly nowMs: () => number;
}

/** Aliases followed from one name (our choice; glibc and BIND stop at similar depths). */
const ALIAS_LIMIT = 8;

/** Returns a lookup that starts with the cluster in reach. */
export function createLookup(options: LookupOptions): Lookup {
  const askServer = createImpatientAsk(options.cluster, options.nowMs);
  const state: State = { ...options, askServer, reachable: true, flights: new Map() };
  return {
    find: (key) => find(state, key),
    setNames(names) {
      state.names = names;
      state.flights.clear();
    },
    setReachable(reachable) {
      state.reachable = reachable;
      if (!reachable) options.cluster.abandon();
    },
    get reachable() {
      return state.reachable;
    },
  };
}

type ClusterRoute = Route & { readonly kind: 'cluster' };

interface State extends LookupOptions {
  names: Names;
  reachable: boolean;
  /** Asks the cluster's DNS. */
  readonly askServer: Upstream['ask'];
  readonly flights: Map<string, Promise<Entry>>;
}

function find(state: State, key: string): Promise<Entry> {
  const shared = state.flights.get(key);
  if (shared !== undefined) return shared;
  const { names } = state;
  const flight = answerByPolicy(state, key)
    .then((entry) => {
      if (entry.expiresAtMs > entry.storedAtMs && state.names === names) state.cache.set(key, entry);
      return entry;
    })
    .finally(() => {
      if (state.flights.get(key) === flight) state.flights.delete(key);
    });
  state.flights.set(key, flight);
  return flight;
}

async function answerByPolicy(state: State, key: string): Promise<Entry> {
  const question = questionOf(key);
  const route = state.names.classify(question.name, question.type, question.class);
  if (route.kind === 'outside') return askOutside(state, key);
  return route.kind === 'negative' ? negativeOf(state, key) : askCandidates(state, key, route);
}

async function askCandidates(state: State, key: string, route: ClusterRoute): Promise<Entry> {
  const name = nameOfKey(key);
  for (const [index, candidate] of route.candidates.entries()) {
    const parent = route.parents[index];
    const above = parent === undefined ? 'exists' : await ask(state, keyOfAddress(parent), route);
    if (above === 'lost') break;
    if (above !== 'exists' && isUnknown(above)) continue;
    if (candidate === name) return askCluster(state, key);
    const entry = await ask(state, keyFor(candidate, key), route);
    if (entry === 'lost') break;
    if (!isUnknown(entry)) return renamed(entry, name);
  }
  return route.otherwise === 'outside' ? askOutside(state, key) : negativeOf(state, key);
}

/** What the cluster says of a full name. `lost`: it cannot be asked, and such names are then the outside's. */
async function ask(state: State, key: string, route: ClusterRoute): Promise<Entry | 'lost'> {
  const known = state.cache.get(key);
  if (known !== undefined && (state.nowMs() < known.expiresAtMs || !state.reachable)) return known;
  try {
    return await find(state, key);
  } catch (cause) {
    if (route.whenLost === 'outside') return 'lost';
    throw cause;
  }
}

/** The key of a plain question for a name's address. */
function keyOfAddress(name: WireName): string {
  return `${name}\0\x01\0\x01\0`;
}

/** A full name: the cluster's word, or what it last said where it cannot be asked. */
async function askCluster(state: State, key: string): Promise<Entry> {
  try {
    return await askClusterNow(state, key);
  } catch (cause) {
    const last = state.cache.get(key);
    if (last !== undefined) return last;
    throw cause;
  }
}

async function askClusterNow(state: State, key: string): Promise<Entry> {
  if (!state.reachable) throw new CzError('DNS_NO_ANSWER', 'the cluster cannot be asked at the moment');
  const message = parseMessage(await state.askServer(key));
  if (message === undefined) throw new CzError('DNS_MALFORMED', "the cluster's DNS answered with bad bytes");
  if (!isDefinite(message)) {
    throw new CzError('DNS_FAILED', `the cluster's DNS answered with code ${rcodeOf(message)}`);
  }
  const whole = await withAliasesFollowed(state, withoutOwnIpv6(state, message), key);
  return entryOf({ ...whole, question: questionOf(key) }, state.nowMs());
}

/** The session carries IPv4 alone: a pod's IPv6 address would only make programs wait. */
function withoutOwnIpv6(state: State, message: Message): Message {
  const reachable = (record: ResourceRecord) =>
    record.type !== TYPE.AAAA || !isWithin(lowerName(record.name), state.names.clusterZone);
  const answers = message.answers.filter(reachable);
  return { ...message, answers, additionals: message.additionals.filter(reachable) };
}

/** Where the cluster named an alias and no more, the alias' own address is looked up by its full name. */
async function withAliasesFollowed(state: State, message: Message, key: string): Promise<Message> {
  let whole = message;
  for (let depth = 0; depth < ALIAS_LIMIT; depth++) {
    const target = openAlias(whole);
    if (target === undefined) return whole;
    const ours = isWithin(target, state.names.clusterZone);
    const there = keyFor(target, key);
    const next = parseMessage(await (ours ? state.askServer(there) : state.outside.ask(there)));
    if (next === undefined || !isDefinite(next))
      throw new CzError('DNS_FAILED', 'an alias could not be followed');
    whole = { ...next, question: message.question, answers: [...whole.answers, ...next.answers] };
    whole = ours ? withoutOwnIpv6(state, whole) : whole;
    if (next.answers.length === 0) return whole;
  }
  throw new CzError('DNS_FAILED', 'too many aliases');
}

async function askOutside(state: State, key: string): Promise<Entry> {
  return outsideEntryOf(await state.outside.ask(key), key, state.nowMs());
}

function negativeOf(state: State, key: string): Entry {
  return negativeEntry(key, state.names.clusterZone, state.nowMs());
}
