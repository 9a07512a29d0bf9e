/** Packet records by hand, for tests: IPv4 with right checksums behind an empty virtio header; and back. */

export interface Ipv4Packet {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** The transport header and what it carries. */
  readonly payload: Buffer;
  /** Flags and offset, as in the header. */
  readonly fragment?: number;
}

/** Returns a record; `virtio` is its header in hex, all zero by default. */
export function record(packet: Ipv4Packet, virtio = '00000000000000000000'): Buffer {
  const ip = ipv4(packet);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(10 + ip.length);
  return Buffer.concat([length, Buffer.from(virtio, 'hex'), ip]);
}

function ipv4(packet: Ipv4Packet): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt8(0x45, 0);
  header.writeUInt16BE(20 + packet.payload.length, 2);
  header.writeUInt16BE(0x1234, 4);
  header.writeUInt16BE(packet.fragment ?? 0, 6);
  header.writeUInt8(64, 8);
  header.writeUInt8(packet.protocol, 9);
  Buffer.from(packet.source.split('.').map(Number)).copy(header, 12);
  Buffer.from(packet.destination.split('.').map(Number)).copy(header, 16);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, packet.payload]);
}

/** Returns an ICMP message of this type, code 0 (RFC 792). */
export function icmp(type: number, data: string): Buffer {
  const message = Buffer.concat([Buffer.from([type, 0, 0, 0, 0, 1, 0, 1]), Buffer.from(data)]);
  message.writeUInt16BE(checksum(message), 2);
  return message;
}

/** Returns a UDP header without checksum, and the data (RFC 768). */
export function udp(sourcePort: number, port: number, data: Buffer): Buffer {
  const header = Buffer.alloc(8);
  [sourcePort, port, 8 + data.length, 0].forEach((value, index) => header.writeUInt16BE(value, index * 2));
  return Buffer.concat([header, data]);
}

/** Returns a bare TCP header with these flags (RFC 9293 §3.1). */
export function tcp(sourcePort: number, port: number, flags: number): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(sourcePort, 0);
  header.writeUInt16BE(port, 2);
  header.writeUInt8(0x50, 12);
  header.writeUInt8(flags, 13);
  return header;
}

/** Returns the bodies of the records: virtio header and packet each. */
export function bodies(records: Buffer): Buffer[] {
  const list: Buffer[] = [];
  for (let at = 0; at < records.length; at += 4 + records.readUInt32BE(at))
    list.push(Buffer.from(records.subarray(at + 4, at + 4 + records.readUInt32BE(at))));
  return list;
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
