/**
 * DNS on the byte level: the header's fields, names, and numbers that other files share. A name is held as a
 * `WireName`: its uncompressed wire bytes in a latin1 string, last dot included (`\x03web\x04shop\x00`). Such strings
 * compare, join and cut cheaply and serve as Map keys; length bytes (0 … 63) never look like capital letters.
 * RFC 1035 §4.1.
 */

/** A name's uncompressed wire bytes as a latin1 string; at most 255 long, ends with the root's zero byte. */
export type WireName = string;

export const HEADER_BYTES = 12;
export const ROOT: WireName = '\0';

/** Longest name on the wire (RFC 1035 §3.1). */
const NAME_LIMIT = 255;
const LABEL_LIMIT = 63;

export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
} as const;

export const CLASS_IN = 1;

export const RCODE = {
  ok: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const;

/** Bits of the header's second 16-bit word (RFC 1035 §4.1.1, RFC 4035 §3.2). */
export const FLAG = {
  response: 0x8000,
  opcode: 0x7800,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  authenticData: 0x0020,
  checkingDisabled: 0x0010,
  rcode: 0x000f,
} as const;

/** The first part of a name, and where the bytes after the name begin. */
export interface NameRead {
  readonly name: WireName;
  readonly end: number;
}

/**
 * Returns the name at `offset` with compression undone, or undefined where it is malformed. Pointers must point
 * before the name's own beginning and each jump before the last one, so no loop is possible. RFC 1035 §4.1.4.
 */
export function readName(bytes: Buffer, offset: number): NameRead | undefined {
  let name = '';
  let end = -1;
  let at = offset;
  let lowest = offset;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) return undefined;
    if (length === 0) return { name: `${name}\0`, end: end === -1 ? at + 1 : end };
    if (length <= LABEL_LIMIT) {
      const next = at + 1 + length;
      if (next >= bytes.length) return undefined;
      name += bytes.toString('latin1', at, next);
      if (name.length >= NAME_LIMIT) return undefined;
      at = next;
      continue;
    }
    const low = bytes[at + 1];
    if (length < 0xc0 || low === undefined) return undefined;
    if (end === -1) end = at + 2;
    at = ((length & 0x3f) << 8) | low;
    if (at >= lowest || at < HEADER_BYTES) return undefined;
    lowest = at;
  }
}

/** Returns the name with the ASCII capitals made small, other bytes untouched (RFC 4343 §3). */
export function lowerName(name: WireName): WireName {
  return name.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
}

/** Returns the labels of a name, as latin1 text; none for the root. */
export function labelsOf(name: WireName): string[] {
  const labels: string[] = [];
  for (let at = 0; ;) {
    const length = name.charCodeAt(at);
    if (!(length > 0)) return labels;
    labels.push(name.slice(at + 1, at + 1 + length));
    at += 1 + length;
  }
}

/** Returns the wire form of labels, or undefined where a label or the whole is too long or empty. */
export function nameOfLabels(labels: readonly string[]): WireName | undefined {
  if (labels.some((label) => label.length === 0 || label.length > LABEL_LIMIT)) return undefined;
  const name = `${labels.map((label) => String.fromCharCode(label.length) + label).join('')}\0`;
  return name.length > NAME_LIMIT ? undefined : name;
}

/** Returns the wire form of `web.shop` or `web.shop.`; undefined where it is no name. No escapes are known. */
export function parseName(text: string): WireName | undefined {
  const bare = text.endsWith('.') ? text.slice(0, -1) : text;
  if (bare === '') return text === '.' ? ROOT : undefined;
  return nameOfLabels(bare.split('.'));
}

/** Returns `web.shop` for logs and messages; bytes outside letters, digits, `-` and `_` as `\DDD`. */
export function formatName(name: WireName): string {
  const labels = labelsOf(name);
  if (labels.length === 0) return '.';
  return labels.map((label) => label.replace(/[^\w-]/g, escapeByte)).join('.');
}

/** Returns whether `name` is `zone` or lies below it; both in small letters. */
export function isWithin(name: WireName, zone: WireName): boolean {
  if (!name.endsWith(zone)) return false;
  for (let at = 0; at <= name.length - zone.length; at += 1 + name.charCodeAt(at)) {
    if (at === name.length - zone.length) return true;
  }
  return false;
}

function escapeByte(byte: string): string {
  return `\\${String(byte.charCodeAt(0)).padStart(3, '0')}`;
}
