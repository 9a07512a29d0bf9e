/**
 * From a kept answer to the bytes for one asker: own id, own spelling of the name, TTLs counted down, OPT only if
 * asked, cut where the asker's limit says so. Bytes in, bytes out: nothing is decoded. Last step of a question's walk.
 * RFC 1035 §4.1.1, RFC 2181 §9, RFC 6891 §6.
 */
import { BAD_VERSION, type Query, type Refusal } from './query.js';
import { FLAG, HEADER_BYTES, readName, TYPE } from './wire.js';

/** An answer that serves every asker of one key. */
export interface Entry {
  /** A whole response without OPT; id 0. Never changed. */
  readonly bytes: Buffer;
  /** Where the TTLs of its records stand. */
  readonly ttlOffsets: readonly number[];
  readonly storedAtMs: number;
  /** Until when it may be given; not after `storedAtMs` for answers that must not be kept. */
  readonly expiresAtMs: number;
  /** Whether the cluster gave it: it may then be served expired while the cluster cannot be asked. */
  readonly fromCluster: boolean;
}

/** Bytes that we take by UDP, as told to those who ask with EDNS (our choice: the loopback path carries it). */
export const OWN_PAYLOAD_BYTES = 4096;

/** TTL of answers served after their time, in seconds (our choice; RFC 8767 §4 proposes 30, we expect to be back sooner). */
const STALE_TTL = 5;
const LEAST_PAYLOAD_BYTES = 512;
const OPT_BYTES = 11;

/**
 * Returns what a response says, ready to be kept, or undefined where its records are malformed. OPT, and what follows
 * it among the additional records, is cut off. `ttl` (seconds) bounds how long it is kept.
 */
export function toEntry(
  response: Buffer,
  o: { ttl: number; nowMs: number; fromCluster: boolean },
): Entry | undefined {
  const records = scanRecords(response);
  if (records === undefined) return undefined;
  const bytes = Buffer.from(response.subarray(0, records.end));
  bytes.writeUInt16BE(0, 0);
  bytes.writeUInt16BE(records.additionals, 10);
  const times = { storedAtMs: o.nowMs, expiresAtMs: o.nowMs + o.ttl * 1000 };
  return { bytes, ttlOffsets: records.ttlOffsets, ...times, fromCluster: o.fromCluster };
}

/** Returns the response for this question; `limitBytes` is the way's (65 535 by TCP). */
export function respond(query: Query, entry: Entry, nowMs: number, limitBytes: number): Buffer {
  const options = query.payloadBytes === undefined ? 0 : OPT_BYTES;
  const whole = entry.bytes.length + options <= limitFor(query, limitBytes);
  const length = whole ? entry.bytes.length : query.questionEnd;
  const out = Buffer.allocUnsafe(length + options);
  entry.bytes.copy(out, 0, 0, length);
  query.bytes.copy(out, HEADER_BYTES, HEADER_BYTES, query.questionEnd);
  out.writeUInt16BE(query.bytes.readUInt16BE(0), 0);
  out.writeUInt16BE(flagsFor(query, entry, whole), 2);
  if (whole) countDown(out, entry, nowMs);
  else out.fill(0, 6, HEADER_BYTES);
  if (options === 0) return out;
  out.writeUInt16BE(out.readUInt16BE(10) + 1, 10);
  writeOptions(out, length, query.dnssecOk, 0);
  return out;
}

/** Returns a response that carries a response code and nothing else. */
export function respondWithCode(asked: Query | Refusal, code: number): Buffer {
  const withOptions = code === BAD_VERSION || ('payloadBytes' in asked && asked.payloadBytes !== undefined);
  const out = Buffer.alloc(asked.questionEnd + (withOptions ? OPT_BYTES : 0));
  asked.bytes.copy(out, 0, 0, asked.questionEnd);
  const kept = asked.bytes.readUInt16BE(2) & (FLAG.opcode | FLAG.recursionDesired | FLAG.checkingDisabled);
  out.writeUInt16BE(FLAG.response | FLAG.recursionAvailable | kept | (code & FLAG.rcode), 2);
  out.writeUInt16BE(asked.questionEnd > HEADER_BYTES ? 1 : 0, 4);
  out.fill(0, 6, HEADER_BYTES);
  if (!withOptions) return out;
  out.writeUInt16BE(1, 10);
  writeOptions(out, asked.questionEnd, false, code >> 4);
  return out;
}

/** Returns the TTLs' offsets, the end of the records before OPT, and how many additional ones those hold. */
export function scanRecords(
  bytes: Buffer,
): { ttlOffsets: number[]; end: number; additionals: number } | undefined {
  const asked = bytes.length < HEADER_BYTES ? undefined : readName(bytes, HEADER_BYTES);
  if (asked === undefined || bytes.readUInt16BE(4) !== 1) return undefined;
  const fixed = bytes.readUInt16BE(6) + bytes.readUInt16BE(8);
  const total = fixed + bytes.readUInt16BE(10);
  const ttlOffsets: number[] = [];
  let at = asked.end + 4;
  for (let index = 0; index < total; index++) {
    const owner = readName(bytes, at);
    if (owner === undefined || owner.end + 10 > bytes.length) return undefined;
    const end = owner.end + 10 + bytes.readUInt16BE(owner.end + 8);
    if (end > bytes.length) return undefined;
    if (bytes.readUInt16BE(owner.end) === TYPE.OPT && index >= fixed) break;
    ttlOffsets.push(owner.end + 4);
    at = end;
  }
  if (at > bytes.length) return undefined;
  return { ttlOffsets, end: at, additionals: Math.max(0, ttlOffsets.length - fixed) };
}

function limitFor(query: Query, limitBytes: number): number {
  const taken = Math.max(query.payloadBytes ?? LEAST_PAYLOAD_BYTES, LEAST_PAYLOAD_BYTES);
  return limitBytes > OWN_PAYLOAD_BYTES ? limitBytes : Math.min(taken, limitBytes);
}

function flagsFor(query: Query, entry: Entry, whole: boolean): number {
  const said = entry.bytes.readUInt16BE(2) & (FLAG.authoritative | FLAG.authenticData | FLAG.rcode);
  const asked = query.flags & (FLAG.recursionDesired | FLAG.checkingDisabled);
  const believed =
    query.dnssecOk || (query.flags & FLAG.authenticData) !== 0 ? said : said & ~FLAG.authenticData;
  return FLAG.response | FLAG.recursionAvailable | believed | asked | (whole ? 0 : FLAG.truncated);
}

function countDown(out: Buffer, entry: Entry, nowMs: number): void {
  const stale = nowMs >= entry.expiresAtMs && entry.expiresAtMs > entry.storedAtMs;
  const age = Math.max(0, Math.floor((nowMs - entry.storedAtMs) / 1000));
  if (age === 0 && !stale) return;
  for (const offset of entry.ttlOffsets) {
    const left = Math.max(0, out.readUInt32BE(offset) - age);
    out.writeUInt32BE(stale ? STALE_TTL : left, offset);
  }
}

function writeOptions(out: Buffer, at: number, dnssecOk: boolean, extendedCode: number): void {
  out.writeUInt8(0, at);
  out.writeUInt16BE(TYPE.OPT, at + 1);
  out.writeUInt16BE(OWN_PAYLOAD_BYTES, at + 3);
  out.writeUInt32BE(((extendedCode << 24) | (dnssecOk ? 0x8000 : 0)) >>> 0, at + 5);
  out.writeUInt16BE(0, at + 9);
}
