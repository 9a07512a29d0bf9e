/**
 * Arithmetic on IPv4 networks: parse, contain, overlap, subtract. Addresses are unsigned 32-bit numbers inside;
 * text outside. Pure. RFC 4632.
 */
import { CzError } from './errors.js';

/** An IPv4 network: `base` has no bits set beyond `prefix`. */
export interface Cidr {
  /** First address, 0 … 2^32-1. */
  readonly base: number;
  /** 0 … 32. */
  readonly prefix: number;
}

const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const ADDRESS = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);

/** Returns the address as a number, or undefined for anything but a dotted quad without leading zeros. */
export function parseAddress(text: string): number | undefined {
  if (!ADDRESS.test(text)) return undefined;
  return text.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

/** Returns the dotted quad of an address. */
export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** Returns the network of `10.0.0.0/8` or of a bare address (a /32); host bits are cleared; undefined if it is none. */
export function parseCidr(text: string): Cidr | undefined {
  const [host = '', length, ...rest] = text.split('/');
  const address = parseAddress(host);
  if (address === undefined || rest.length > 0) return undefined;
  if (length === undefined) return { base: address, prefix: 32 };
  if (!/^(?:3[0-2]|[12]?\d)$/.test(length)) return undefined;
  return networkOf(address, Number(length));
}

/** Returns the network of `text`. @throws USAGE for anything that is no IPv4 network */
export function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new CzError('USAGE', `"${text}" is no IPv4 network`);
  return parsed;
}

/** Returns the network of this length that holds the address. */
export function networkOf(address: number, prefix: number): Cidr {
  const size = sizeOf(prefix);
  return { base: Math.floor(address / size) * size, prefix };
}

/** Returns `10.0.0.0/8`. */
export function formatCidr(network: Cidr): string {
  return `${formatAddress(network.base)}/${network.prefix}`;
}

/** Returns whether `outer` holds all of `inner`. */
export function contains(outer: Cidr, inner: Cidr): boolean {
  return outer.prefix <= inner.prefix && networkOf(inner.base, outer.prefix).base === outer.base;
}

/** Returns whether the network holds the address. */
export function holds(network: Cidr, address: number): boolean {
  return networkOf(address, network.prefix).base === network.base;
}

/** Returns whether the two share an address. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return contains(a, b) || contains(b, a);
}

/** Returns the fewest networks that hold exactly the addresses of `from` outside all of `holes`, ascending. */
export function subtract(from: Cidr, holes: readonly Cidr[]): Cidr[] {
  const hit = holes.filter((hole) => overlaps(from, hole));
  if (hit.length === 0) return [from];
  if (hit.some((hole) => contains(hole, from))) return [];
  return halves(from).flatMap((half) => subtract(half, hit));
}

/** Returns the networks without those that another of them contains, and without repeats, ascending. */
export function merge(networks: readonly Cidr[]): Cidr[] {
  const sorted = [...networks].sort((a, b) => a.base - b.base || a.prefix - b.prefix);
  const kept: Cidr[] = [];
  for (const network of sorted) {
    const last = kept.at(-1);
    if (last === undefined || !contains(last, network)) kept.push(network);
  }
  return kept;
}

function halves(network: Cidr): [Cidr, Cidr] {
  const prefix = network.prefix + 1;
  return [
    { base: network.base, prefix },
    { base: network.base + sizeOf(prefix), prefix },
  ];
}

function sizeOf(prefix: number): number {
  return 2 ** (32 - prefix);
}
