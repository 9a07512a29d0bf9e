/**
 * Answers as they are kept, from messages: how long each may live, the same answer under a shorter name, and negative
 * answers of our own. Pure. RFC 2308, RFC 2181 §5.2.
 */
import { isDeepStrictEqual } from 'node:util';
import { CzError } from '../base/errors.js';
import { scanRecords, toEntry, type Entry } from './answer.js';
import {
  encodeMessage,
  negativeTtl,
  parseMessage,
  rcodeOf,
  startOfAuthority,
  type Message,
  type Question,
  type ResourceRecord,
} from './message.js';
import { nameOfKey, questionOfKey } from './query.js';
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

/** Longest that an answer is kept, in seconds (our choices; RFC 8767 §4 suggests a day to a week, RFC 2308 §5 1 to 3 hours). */
const LONGEST_TTL = 86_400;
const LONGEST_NEGATIVE_TTL = 3600;

/** For negative answers made here (our choice: a Service made a moment later is found soon). */
const OWN_NEGATIVE_TTL = 5;

/** Returns a message of the cluster's as an entry. */
export function entryOf(message: Message, nowMs: number): Entry {
  const entry = toEntry(encodeMessage(message), { ttl: ttlOf(message), nowMs, fromCluster: true });
  if (entry === undefined) throw new CzError('DNS_MALFORMED', 'an answer cannot be written');
  return entry;
}

/** Returns an outside response to the question of this key, byte for byte, as an entry. @throws DNS_MALFORMED */
export function outsideEntryOf(response: Buffer, key: string, nowMs: number): Entry {
  const message = parseMessage(response);
  const asked = message !== undefined && isDeepStrictEqual(lowered(message.question), questionOf(key));
  const entry = asked ? toEntry(response, { ttl: ttlOf(message), nowMs, fromCluster: false }) : undefined;
  if (entry === undefined) throw new CzError('DNS_MALFORMED', 'the outside DNS answered with bad bytes');
  return entry;
}

/** Returns the same answer under another name: the question and what it owns are renamed, nothing else. @throws DNS_MALFORMED */
export function renamed(entry: Entry, name: WireName): Entry {
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

/** Returns NXDOMAIN for a key, with an authority that lets it be kept for a short while. */
export function negativeEntry(key: string, clusterZone: WireName, nowMs: number): Entry {
  const question = questionOf(key);
  const zone = isWithin(question.name, clusterZone) ? clusterZone : zoneOf(question.name);
  const message = {
    id: 0,
    flags: FLAG.response | FLAG.authoritative | RCODE.nameError,
    question,
    answers: [],
    authorities: [startOfAuthority(zone, OWN_NEGATIVE_TTL)],
    additionals: [],
  };
  return entryOf(message, nowMs);
}

/** Returns the question of a key, its name in small letters. */
export function questionOf(key: string): Question {
  const bytes = questionOfKey(key);
  const end = bytes.length;
  return { name: nameOfKey(key), type: bytes.readUInt16BE(end - 4), class: bytes.readUInt16BE(end - 2) };
}

/** Returns whether the server knows: the name exists, or it does not. */
export function isDefinite(message: Message): boolean {
  return rcodeOf(message) === RCODE.ok || rcodeOf(message) === RCODE.nameError;
}

/** Returns whether the entry says that there is no such name. */
export function isUnknown(entry: Entry): boolean {
  return (entry.bytes.readUInt16BE(2) & FLAG.rcode) === RCODE.nameError;
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

/** The zone that a negative answer for a short name is said to come from: its last label (RFC 2308 wants an ancestor). */
function zoneOf(name: WireName): WireName {
  const last = labelsOf(name).at(-1);
  return last === undefined ? ROOT : (nameOfLabels([last]) ?? ROOT);
}

function lowered(question: Question): Question {
  return { ...question, name: lowerName(question.name) };
}
