/**
 * Hand-made IPv4 packets, and what a test wants to know of those that come back. RFC 791, 792, 793, 768.
 */
import { formatAddress, parseAddress } from '../../src/base/cidr.js';

const ICMP = 1;
const TCP = 6;
const UDP = 17;

export const SYN = 0x02;
const RST = 0x04;
export const ACK = 0x10;

export interface Ends {
  readonly from: string;
  readonly to: string;
}

export interface TcpFields extends Ends {
  readonly sourcePort: number;
  readonly port: number;
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledged?: number;
}

/** Returns a TCP segment without data. */
export function tcp(fields: TcpFields): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(fields.sourcePort, 0);
  header.writeUInt16BE(fields.port, 2);
  header.writeUInt32BE(fields.sequence ?? 1000, 4);
  header.writeUInt32BE(fields.acknowledged ?? 0, 8);
  header.writeUInt16BE((5 << 12) | fields.flags, 12);
  header.writeUInt16BE(65_535, 14);
  header.writeUInt16BE(transportSum(fields, TCP, header), 16);
  return ip(fields, TCP, header);
}

/** Returns a UDP datagram, in fragments of `fragmentBytes` of its payload where that is given. */
export function udp(fields: Ends & { sourcePort: number; port: number; data: Buffer; df?: boolean }): Buffer {
  return ip(fields, UDP, datagram(fields), { flags: fields.df === true ? 0x4000 : 0 });
}

/** Returns the datagram as fragments that carry 1400 bytes each. */
export function udpFragments(fields: Ends & { sourcePort: number; port: number; data: Buffer }): Buffer[] {
  const whole = datagram(fields);
  const fragments: Buffer[] = [];
  for (let offset = 0; offset < whole.length; offset += 1400) {
    const more = offset + 1400 < whole.length ? 0x2000 : 0;
    fragments.push(
      ip(fields, UDP, whole.subarray(offset, offset + 1400), { flags: more | (offset / 8), id: 7 }),
    );
  }
  return fragments;
}

/** Returns an ICMP echo request. */
export function ping(fields: Ends & { id: number }): Buffer {
  const message = Buffer.alloc(16);
  message.writeUInt8(8, 0);
  message.writeUInt16BE(fields.id, 4);
  message.writeUInt16BE(sum(message), 2);
  return ip(fields, ICMP, message);
}

function datagram(fields: Ends & { sourcePort: number; port: number; data: Buffer }): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(fields.sourcePort, 0);
  header.writeUInt16BE(fields.port, 2);
  header.writeUInt16BE(8 + fields.data.length, 4);
  const whole = Buffer.concat([header, fields.data]);
  whole.writeUInt16BE(transportSum(fields, UDP, whole), 6);
  return whole;
}

function ip(ends: Ends, protocol: number, payload: Buffer, { flags = 0, id = 1 } = {}): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt8(0x45, 0);
  header.writeUInt16BE(20 + payload.length, 2);
  header.writeUInt16BE(id, 4);
  header.writeUInt16BE(flags, 6);
  header.writeUInt8(64, 8);
  header.writeUInt8(protocol, 9);
  header.writeUInt32BE(parseAddress(ends.from) ?? 0, 12);
  header.writeUInt32BE(parseAddress(ends.to) ?? 0, 16);
  header.writeUInt16BE(sum(header), 10);
  return Buffer.concat([header, payload]);
}

function transportSum(ends: Ends, protocol: number, segment: Buffer): number {
  const pseudo = Buffer.alloc(12);
  pseudo.writeUInt32BE(parseAddress(ends.from) ?? 0, 0);
  pseudo.writeUInt32BE(parseAddress(ends.to) ?? 0, 4);
  pseudo.writeUInt8(protocol, 9);
  pseudo.writeUInt16BE(segment.length, 10);
  return sum(Buffer.concat([pseudo, segment]));
}

/** The internet checksum. RFC 1071 */
function sum(bytes: Buffer): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 2)
    total += at + 1 < bytes.length ? bytes.readUInt16BE(at) : bytes.readUInt8(at) << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

export interface Seen {
  readonly from: string;
  readonly to: string;
  /** `tcp rst`, `tcp syn ack`, `udp`, `icmp 3/13`, `icmp 0/0`, `fragment`. */
  readonly what: string;
  readonly sourcePort: number;
  readonly port: number;
  /** Identifier of an ICMP echo. */
  readonly id: number;
  readonly sequence: number;
  /** Bytes after the IP header. */
  readonly payload: Buffer;
  readonly offset: number;
}

/** Returns what a packet is. */
export function parsePacket(packet: Buffer): Seen {
  const payload = packet.subarray((packet.readUInt8(0) & 15) * 4);
  const offset = (packet.readUInt16BE(6) & 0x1fff) * 8;
  const protocol = packet.readUInt8(9);
  const port = (at: number) => (protocol !== ICMP && offset === 0 ? payload.readUInt16BE(at) : 0);
  return {
    from: formatAddress(packet.readUInt32BE(12)),
    to: formatAddress(packet.readUInt32BE(16)),
    what: offset > 0 ? 'fragment' : describe(protocol, payload),
    sourcePort: port(0),
    port: port(2),
    id: protocol === ICMP ? payload.readUInt16BE(4) : 0,
    sequence: protocol === TCP ? payload.readUInt32BE(4) : 0,
    payload,
    offset,
  };
}

/** Returns whether this is the answer to the ping of that identifier. */
export function isPong(seen: Seen, id: number): boolean {
  return seen.what === 'icmp 0/0' && seen.id === id;
}

function describe(protocol: number, payload: Buffer): string {
  if (protocol === ICMP) return `icmp ${payload.readUInt8(0)}/${payload.readUInt8(1)}`;
  if (protocol !== TCP) return protocol === UDP ? 'udp' : `protocol ${protocol}`;
  const flags = payload.readUInt8(13);
  const names = Object.entries({ syn: SYN, rst: RST, ack: ACK }).filter(([, bit]) => (flags & bit) !== 0);
  return ['tcp', ...names.map(([name]) => name)].join(' ');
}
