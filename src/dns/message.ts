/**
 * Whole DNS messages: bytes to records and back, with names compressed. Used off the fast path: for what the
 * cluster's DNS answered and for answers of our own. Every length and count comes from outside and is checked.
 * RFC 1035 §4, RFC 3597 §4 (names inside the data of known types only), RFC 6891 (OPT is skipped here).
 */
import { CLASS_IN, FLAG, HEADER_BYTES, lowerName, readName, TYPE, type WireName } from './wire.js';

export interface ResourceRecord {
  readonly name: WireName;
  readonly type: number;
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  readonly data: RecordData;
}

/** A record's data: bytes, then names (uncompressed), then bytes. Most types have bytes alone. */
export interface RecordData {
  readonly head: Buffer;
  readonly names: readonly WireName[];
  readonly tail: Buffer;
}

export interface Question {
  readonly name: WireName;
  readonly type: number;
  readonly class: number;
}

export interface Message {
  readonly id: number;
  /** The header's second word: flags, opcode, response code. */
  readonly flags: number;
  readonly question: Question;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
}

/** How many bytes and names the data of a type begins with (RFC 1035 §3.3, RFC 2782); other types hold no names. */
const LAYOUT = new Map<number, { readonly head: number; readonly names: number; readonly tail: number }>([
  [TYPE.NS, { head: 0, names: 1, tail: 0 }],
  [TYPE.CNAME, { head: 0, names: 1, tail: 0 }],
  [TYPE.SOA, { head: 0, names: 2, tail: 20 }],
  [TYPE.PTR, { head: 0, names: 1, tail: 0 }],
  [TYPE.MX, { head: 2, names: 1, tail: 0 }],
  [TYPE.SRV, { head: 6, names: 1, tail: 0 }],
]);

const EMPTY = Buffer.alloc(0);

/** Returns a response's records, or undefined where any byte of it is malformed or it has not exactly one question. */
export function parseMessage(bytes: Buffer): Message | undefined {
  if (bytes.length < HEADER_BYTES || bytes.readUInt16BE(4) !== 1) return undefined;
  const asked = readName(bytes, HEADER_BYTES);
  if (asked === undefined || asked.end + 4 > bytes.length) return undefined;
  const question = {
    name: asked.name,
    type: bytes.readUInt16BE(asked.end),
    class: bytes.readUInt16BE(asked.end + 2),
  };
  const answers = readSection(bytes, asked.end + 4, bytes.readUInt16BE(6));
  const authorities = answers && readSection(bytes, answers.end, bytes.readUInt16BE(8));
  const additionals = authorities && readSection(bytes, authorities.end, bytes.readUInt16BE(10));
  if (answers === undefined || authorities === undefined || additionals === undefined) return undefined;
  return {
    id: bytes.readUInt16BE(0),
    flags: bytes.readUInt16BE(2),
    question,
    answers: answers.records,
    authorities: authorities.records,
    additionals: additionals.records.filter((record) => record.type !== TYPE.OPT),
  };
}

/** Returns the message's bytes, names compressed against each other. The TTLs stand as given. */
export function encodeMessage(message: Message): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const sections = [message.answers, message.authorities, message.additionals];
  [message.id, message.flags, 1, ...sections.map((section) => section.length)].forEach((word, index) =>
    header.writeUInt16BE(word, index * 2),
  );
  const writer = createWriter(header);
  writer.name(message.question.name);
  writer.bytes(words(message.question.type, message.question.class));
  for (const record of sections.flat()) writeRecord(writer, record);
  return writer.finish();
}

/** Returns data that is bytes alone. */
export function plainData(bytes: Buffer): RecordData {
  return { head: bytes, names: [], tail: EMPTY };
}

/** Returns the one name that the data of a CNAME, NS or PTR record is; undefined for other data. */
export function targetOf(record: ResourceRecord): WireName | undefined {
  return record.data.head.length === 0 && record.data.names.length === 1 ? record.data.names[0] : undefined;
}

/** Returns a start-of-authority record of ours, `ttl` seconds as TTL and as negative TTL (RFC 2308 §4). */
export function startOfAuthority(zone: WireName, ttl: number): ResourceRecord {
  const tail = Buffer.alloc(20);
  [1, 7200, 1800, 86_400, ttl].forEach((value, index) => tail.writeUInt32BE(value, index * 4));
  const data = {
    head: EMPTY,
    names: ['\x02ns\x02cz\x07invalid\0', '\x0ahostmaster\x02cz\x07invalid\0'],
    tail,
  };
  return { name: zone, type: TYPE.SOA, class: CLASS_IN, ttl, data };
}

/** Returns for how many seconds a negative answer may be kept: the lesser of SOA TTL and minimum (RFC 2308 §5). */
export function negativeTtl(authorities: readonly ResourceRecord[]): number | undefined {
  const authority = authorities.find((record) => record.type === TYPE.SOA && record.data.tail.length === 20);
  return authority === undefined ? undefined : Math.min(authority.ttl, authority.data.tail.readUInt32BE(16));
}

/** Returns the response code of the header's 4 bits. */
export function rcodeOf(message: Pick<Message, 'flags'>): number {
  return message.flags & FLAG.rcode;
}

function readSection(bytes: Buffer, offset: number, count: number) {
  const records: ResourceRecord[] = [];
  let at = offset;
  for (let index = 0; index < count; index++) {
    const read = readRecord(bytes, at);
    if (read === undefined) return undefined;
    records.push(read.record);
    at = read.end;
  }
  return { records, end: at };
}

function readRecord(bytes: Buffer, offset: number): { record: ResourceRecord; end: number } | undefined {
  const owner = readName(bytes, offset);
  if (owner === undefined || owner.end + 10 > bytes.length) return undefined;
  const start = owner.end + 10;
  const end = start + bytes.readUInt16BE(owner.end + 8);
  if (end > bytes.length) return undefined;
  const type = bytes.readUInt16BE(owner.end);
  const data = readData(bytes, type, start, end);
  if (data === undefined) return undefined;
  const ttl = bytes.readUInt32BE(owner.end + 4);
  const record = { name: owner.name, type, class: bytes.readUInt16BE(owner.end + 2), ttl: sane(ttl), data };
  return { record, end };
}

/** A TTL with its highest bit set counts as zero (RFC 2181 §8). */
function sane(ttl: number): number {
  return ttl > 0x7fff_ffff ? 0 : ttl;
}

function readData(bytes: Buffer, type: number, start: number, end: number): RecordData | undefined {
  const layout = LAYOUT.get(type);
  if (layout === undefined)
    return fits(type, end - start) ? plainData(bytes.subarray(start, end)) : undefined;
  const names: WireName[] = [];
  let at = start + layout.head;
  for (let index = 0; index < layout.names; index++) {
    const read = readName(bytes, at);
    if (read === undefined) return undefined;
    names.push(read.name);
    at = read.end;
  }
  if (at + layout.tail !== end) return undefined;
  return { head: bytes.subarray(start, start + layout.head), names, tail: bytes.subarray(at, end) };
}

function fits(type: number, length: number): boolean {
  if (type === TYPE.A) return length === 4;
  return type === TYPE.AAAA ? length === 16 : true;
}

interface Writer {
  bytes(part: Buffer): void;
  /** Writes a name, compressed where a longest known end of it exists. */
  name(name: WireName): void;
  /** Writes a name in full (RFC 2782: the target of SRV is not compressed). */
  fullName(name: WireName): void;
  readonly length: number;
  patch16(at: number, value: number): void;
  finish(): Buffer;
}

function createWriter(header: Buffer): Writer {
  let out = Buffer.allocUnsafe(1024);
  let length = header.copy(out);
  const known = new Map<WireName, number>();
  const bytes = (part: Buffer) => {
    if (length + part.length > out.length) {
      out = Buffer.concat([out.subarray(0, length)], Math.max(out.length * 2, length + part.length));
    }
    length += part.copy(out, length);
  };
  const name = (whole: WireName) => {
    const lower = lowerName(whole);
    for (let at = 0; whole.charCodeAt(at) > 0; at += 1 + whole.charCodeAt(at)) {
      const pointer = known.get(lower.slice(at));
      if (pointer !== undefined) return bytes(words(0xc000 | pointer));
      if (length < 0x4000) known.set(lower.slice(at), length);
      bytes(Buffer.from(whole.slice(at, at + 1 + whole.charCodeAt(at)), 'latin1'));
    }
    bytes(Buffer.from([0]));
  };
  return {
    bytes,
    name,
    fullName: (whole) => bytes(Buffer.from(whole, 'latin1')),
    get length() {
      return length;
    },
    patch16: (at, value) => void out.writeUInt16BE(value, at),
    finish: () => Buffer.from(out.subarray(0, length)),
  };
}

function writeRecord(writer: Writer, record: ResourceRecord): void {
  writer.name(record.name);
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(record.type, 0);
  fixed.writeUInt16BE(record.class, 2);
  fixed.writeUInt32BE(record.ttl, 4);
  writer.bytes(fixed);
  const start = writer.length;
  writer.bytes(record.data.head);
  for (const name of record.data.names) {
    if (record.type === TYPE.SRV) writer.fullName(name);
    else writer.name(name);
  }
  writer.bytes(record.data.tail);
  writer.patch16(start - 2, writer.length - start);
}

function words(...values: number[]): Buffer {
  const out = Buffer.alloc(values.length * 2);
  values.forEach((value, index) => out.writeUInt16BE(value, index * 2));
  return out;
}
