/**
 * What the cache does not have: asks the cluster or the outside as the policy says, follows aliases that lead out of the
 * cluster, and keeps the result. Equal questions share one asking. Short names are looked up under their full ones, so
 * that every spelling of a Service shares what is known of it.
 */
import { CzError } from '../base/errors.js';
import { scanRecords, toEntry, type Entry } from './answer.js';
import type { Cache } from './cache.js';
import {
  encodeMessage,
  negativeTtl,
  parseMessage,
  rcodeOf,
  startOfAuthority,
  targetOf,
  type Message,
  type ResourceRecord,
} from './message.js';
import type { Names, Route } from './names.js';
import { keyFor, nameOfKey, questionOfKey } from './query.js';
import type { Upstream } from './upstream.js';
import {
  FLAG,
  isWithin,
  labelsOf,
  lowerName,
  nameOfLabels,
  RCODE,
  ROOT,
  TYPE,
  type WireName,
} from './wire.js';

export interface Lookup {
  /** Returns the answer for a key; it may be an expired one while the cluster cannot be asked. @throws when there is none */
  find(key: string): Promise<Entry>;
  setNames(names: Names): void;
  setReachable(reachable: boolean): void;
  readonly reachable: boolean;
  /** How many different questions are being asked. */
  readonly underWay: number;
}

export interface LookupOptions {
  readonly names: Names;
  readonly cluster: Upstream;
  readonly outside: Upstream;
  readonly cache: Cache;
  readonly nowMs: () => number;
}

/** Longest that an answer is kept, in seconds (our choices; RFC 8767 §4 suggests a day to a week, RFC 2308 §5 1 to 3 hours). */
const LONGEST_TTL = 86_400;
const LONGEST_NEGATIVE_TTL = 3600;

/** For negative answers made here (our choice: a Service made a moment later is found soon). */
const OWN_NEGATIVE_TTL = 5;

/** Aliases followed from one name (our choice; glibc and BIND stop at similar depths). */
const ALIAS_LIMIT = 8;

/** Returns a lookup that starts with the cluster in reach. */
export function createLookup(options: LookupOptions): Lookup {
  const state: State = { ...options, reachable: true, flights: new Map() };
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
    get underWay() {
      return state.flights.size;
    },
  };
}

type ClusterRoute = Route & { readonly kind: 'cluster' };

interface State extends LookupOptions {
  names: Names;
  reachable: boolean;
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
  const question = questionOfKey(key);
  const route = state.names.classify(
    nameOfKey(key),
    question.readUInt16BE(question.length - 4),
    question.readUInt16BE(question.length - 2),
  );
  if (route.kind === 'outside') return askOutside(state, key);
  return route.kind === 'negative' ? negativeEntry(state, key) : askCandidates(state, key, route);
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
  return route.otherwise === 'outside' ? askOutside(state, key) : negativeEntry(state, key);
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
  const message = parseMessage(await state.cluster.ask(key));
  if (message === undefined) throw new CzError('DNS_MALFORMED', "the cluster's DNS answered with bad bytes");
  if (!isDefinite(message)) {
    throw new CzError('DNS_FAILED', `the cluster's DNS answered with code ${rcodeOf(message)}`);
  }
  const whole = await withAliasesFollowed(state, withoutOwnIpv6(state, message), key);
  return kept(state, { ...whole, question: { ...whole.question, name: nameOfKey(key) } }, true);
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
    const upstream = ours ? state.cluster : state.outside;
    const next = parseMessage(await upstream.ask(keyFor(target, key)));
    if (next === undefined || !isDefinite(next))
      throw new CzError('DNS_FAILED', 'an alias could not be followed');
    whole = { ...next, question: message.question, answers: [...whole.answers, ...next.answers] };
    whole = ours ? withoutOwnIpv6(state, whole) : whole;
    if (next.answers.length === 0) return whole;
  }
  throw new CzError('DNS_FAILED', 'too many aliases');
}

/** The name that the answers end at, if they end at an alias: nothing of the asked type is there. */
function openAlias(message: Message): WireName | undefined {
  const { question, answers } = message;
  if (question.type === TYPE.CNAME || rcodeOf(message) !== RCODE.ok) return undefined;
  const aliases = new Map(
    answers.flatMap((record) => {
      const target = record.type === TYPE.CNAME ? targetOf(record) : undefined;
      return target === undefined ? [] : [[lowerName(record.name), lowerName(target)] as const];
    }),
  );
  let name = lowerName(question.name);
  for (let steps = 0; steps <= aliases.size; steps++) {
    const next = aliases.get(name);
    if (next === undefined) break;
    name = next;
  }
  if (name === lowerName(question.name)) return undefined;
  return answers.some((record) => record.type === question.type && lowerName(record.name) === name) ||
    answers.some((record) => record.type !== TYPE.CNAME && lowerName(record.name) === name)
    ? undefined
    : name;
}

async function askOutside(state: State, key: string): Promise<Entry> {
  const response = await state.outside.ask(key);
  const message = parseMessage(response);
  if (message === undefined) throw new CzError('DNS_MALFORMED', 'the outside DNS answered with bad bytes');
  const entry = toEntry(response, { ttl: ttlOf(message), nowMs: state.nowMs(), fromCluster: false });
  if (entry === undefined) throw new CzError('DNS_MALFORMED', 'the outside DNS answered with bad bytes');
  return entry;
}

/** The same answer under the name that was asked: its owner's name and the question change, nothing else. */
function renamed(entry: Entry, name: WireName): Entry {
  const message = parseMessage(entry.bytes);
  if (message === undefined) throw new CzError('DNS_MALFORMED', 'a kept answer cannot be read');
  const full = lowerName(message.question.name);
  const rename = (record: ResourceRecord) => (lowerName(record.name) === full ? { ...record, name } : record);
  const bytes = encodeMessage({
    ...message,
    question: { ...message.question, name },
    answers: message.answers.map(rename),
    authorities: message.authorities.map((record) =>
      record.type === TYPE.SOA ? { ...record, name: zoneOf(name) } : record,
    ),
    additionals: message.additionals.map(rename),
  });
  return { ...entry, bytes, ttlOffsets: scanRecords(bytes)?.ttlOffsets ?? [] };
}

/** The zone that a negative answer for a short name is said to come from: its last label (RFC 2308 wants an ancestor). */
function zoneOf(name: WireName): WireName {
  const last = labelsOf(name).at(-1);
  return last === undefined ? ROOT : (nameOfLabels([last]) ?? ROOT);
}

function negativeEntry(state: State, key: string): Entry {
  const question = questionOfKey(key);
  const name = nameOfKey(key);
  const zone = isWithin(name, state.names.clusterZone) ? state.names.clusterZone : zoneOf(name);
  const [type, klass] = [
    question.readUInt16BE(question.length - 4),
    question.readUInt16BE(question.length - 2),
  ];
  return kept(
    state,
    {
      id: 0,
      flags: FLAG.response | FLAG.authoritative | RCODE.nameError,
      question: { name, type, class: klass },
      answers: [],
      authorities: [startOfAuthority(zone, OWN_NEGATIVE_TTL)],
      additionals: [],
    },
    true,
  );
}

function kept(state: State, message: Message, fromCluster: boolean): Entry {
  const entry = toEntry(encodeMessage(message), { ttl: ttlOf(message), nowMs: state.nowMs(), fromCluster });
  if (entry === undefined) throw new CzError('DNS_MALFORMED', 'an answer cannot be written');
  return entry;
}

/** For how many seconds a response may be kept; 0: not at all. RFC 2308 §5: a negative one without SOA is not kept. */
function ttlOf(message: Message): number {
  if (!isDefinite(message)) return 0;
  const negative =
    rcodeOf(message) === RCODE.nameError || !message.answers.some((record) => record.type !== TYPE.CNAME);
  const shortest = Math.min(LONGEST_TTL, ...message.answers.map((record) => record.ttl));
  if (!negative || message.question.type === TYPE.CNAME) return shortest;
  return Math.min(shortest, LONGEST_NEGATIVE_TTL, negativeTtl(message.authorities) ?? 0);
}

function isDefinite(message: Message): boolean {
  return rcodeOf(message) === RCODE.ok || rcodeOf(message) === RCODE.nameError;
}

function isUnknown(entry: Entry): boolean {
  return (entry.bytes.readUInt16BE(2) & FLAG.rcode) === RCODE.nameError;
}
