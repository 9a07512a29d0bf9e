/**
 * A question's bytes: the fast path's reader. It checks what it reads and builds the cache's key; it decodes nothing
 * else. Step 1 of a question's walk: query → cache → resolver → answer. RFC 1035 §4.1, RFC 6891 §6.1.
 */
import { FLAG, HEADER_BYTES, RCODE, TYPE, type WireName } from './wire.js';

export interface Query {
  /** The bytes as they came; they belong to whoever called. */
  readonly bytes: Buffer;
  readonly flags: number;
  /** Where the question ends. */
  readonly questionEnd: number;
  readonly type: number;
  readonly class: number;
  /** Name in small letters, type, class and DNSSEC bits: equal keys have equal answers. */
  readonly key: string;
  /** Bytes that the sender takes by UDP; undefined without EDNS. */
  readonly payloadBytes: number | undefined;
  readonly dnssecOk: boolean;
}

/** A question that is refused at sight, with the response code to say so. */
export interface Refusal {
  readonly bytes: Buffer;
  /** Where the question ends; the header's length where none could be read. */
  readonly questionEnd: number;
  readonly refused: number;
}

/** Extended response code BADVERS (RFC 6891 §9) is 16: its upper bits travel in OPT. */
export const BAD_VERSION = 16;

const NAME_LIMIT = 255;
const scratch = Buffer.alloc(NAME_LIMIT + 5);

/** Returns the question, what to refuse it with, or undefined for bytes that must not be answered at all. */
export function readQuery(bytes: Buffer): Query | Refusal | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const flags = bytes.readUInt16BE(2);
  if ((flags & FLAG.response) !== 0) return undefined;
  if ((flags & FLAG.opcode) !== 0) return refusal(bytes, HEADER_BYTES, RCODE.notImplemented);
  if (bytes.readUInt16BE(4) !== 1) return refusal(bytes, HEADER_BYTES, RCODE.formatError);
  const nameLength = lowerInto(scratch, bytes);
  const questionEnd = HEADER_BYTES + nameLength + 4;
  if (nameLength === 0 || questionEnd > bytes.length) return refusal(bytes, HEADER_BYTES, RCODE.formatError);
  bytes.copy(scratch, nameLength, questionEnd - 4, questionEnd);
  const options = readOptions(bytes, questionEnd);
  if (options === undefined) return refusal(bytes, questionEnd, RCODE.formatError);
  if (options.version > 0) return refusal(bytes, questionEnd, BAD_VERSION);
  scratch[nameLength + 4] = (options.dnssecOk ? 1 : 0) | (flags & FLAG.checkingDisabled);
  const type = bytes.readUInt16BE(questionEnd - 4);
  if (type === TYPE.AXFR || type === TYPE.IXFR || type === TYPE.OPT) {
    return refusal(bytes, questionEnd, RCODE.refused);
  }
  return {
    bytes,
    flags,
    questionEnd,
    type,
    class: bytes.readUInt16BE(questionEnd - 2),
    key: scratch.toString('latin1', 0, nameLength + 5),
    payloadBytes: options.payloadBytes,
    dnssecOk: options.dnssecOk,
  };
}

/** Returns the name of a key, in small letters. */
export function nameOfKey(key: string): WireName {
  return key.slice(0, -5);
}

/** Returns the key of another name, with the same type, class and DNSSEC bits. */
export function keyFor(name: WireName, key: string): string {
  return name + key.slice(-5);
}

/** Returns the question section's bytes of a key. */
export function questionOfKey(key: string): Buffer {
  return Buffer.from(key.slice(0, -1), 'latin1');
}

/** Returns whether the key's asker set DNSSEC OK, and checking disabled. */
export function bitsOfKey(key: string): { readonly dnssecOk: boolean; readonly checkingDisabled: boolean } {
  const bits = key.charCodeAt(key.length - 1);
  return { dnssecOk: (bits & 1) !== 0, checkingDisabled: (bits & FLAG.checkingDisabled) !== 0 };
}

/** Copies the question's name in small letters; returns its length, 0 where it is malformed or compressed. */
function lowerInto(target: Buffer, bytes: Buffer): number {
  let at = HEADER_BYTES;
  for (;;) {
    const length = bytes[at];
    if (length === undefined || length > 63 || at + length - HEADER_BYTES >= NAME_LIMIT) return 0;
    target[at - HEADER_BYTES] = length;
    if (length === 0) return at + 1 - HEADER_BYTES;
    for (const end = at + length; at < end;) {
      const byte = bytes[++at];
      if (byte === undefined) return 0;
      target[at - HEADER_BYTES] = byte >= 65 && byte <= 90 ? byte + 32 : byte;
    }
    at++;
  }
}

interface Options {
  readonly payloadBytes: number | undefined;
  readonly dnssecOk: boolean;
  readonly version: number;
}

const NO_OPTIONS: Options = { payloadBytes: undefined, dnssecOk: false, version: 0 };

/** A question carries no records but OPT and, rarely, a signature that is not ours to check: those are not read. */
function readOptions(bytes: Buffer, at: number): Options | undefined {
  const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
  if (records === 0) return NO_OPTIONS;
  if (at + 11 > bytes.length || bytes[at] !== 0 || bytes.readUInt16BE(at + 1) !== TYPE.OPT) return undefined;
  if (at + 11 + bytes.readUInt16BE(at + 9) > bytes.length) return undefined;
  return {
    payloadBytes: bytes.readUInt16BE(at + 3),
    version: bytes.readUInt8(at + 6),
    dnssecOk: (bytes.readUInt8(at + 7) & 0x80) !== 0,
  };
}

function refusal(bytes: Buffer, questionEnd: number, refused: number): Refusal {
  return { bytes, questionEnd, refused };
}
