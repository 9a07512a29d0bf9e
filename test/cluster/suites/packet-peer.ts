/**
 * A laptop without a kernel: joins the manager as the daemon does and sends packets made by hand, so that a test can
 * send what no kernel would, and sees every packet that comes back.
 */
import { silentLog } from '../../../src/base/log.js';
import { createLink, type Link, type PacketPort } from '../../../src/tunnel/link.js';
import { isPong, parsePacket, ping, type Seen } from '../../wire/nat-packets.js';
import { until } from '../harness/until.js';
import { join, type Enrolled, type Gate } from './gate.js';

const SOON = { timeoutMs: 5000, everyMs: 10 };
const VIRTIO_BYTES = 10;

export interface PacketPeer {
  readonly session: Enrolled;
  readonly address: string;
  readonly link: Link;
  /** All that came, in order. */
  readonly seen: Seen[];
  /** Sends packets behind these virtio headers (hex; by default an empty one). */
  send(packets: readonly Buffer[], virtio?: string): void;
  /** Resolves when a ping sent now to `destination` is answered: all that was sent before it has been judged. */
  fence(destination: string): Promise<void>;
  close(): void;
}

/** Joins with a new Session. */
export async function openPacketPeer(gate: Gate): Promise<PacketPeer> {
  const session = await gate.enroll();
  const carrier = await gate.dial();
  const { address } = await join(carrier, session);
  const waiting: Buffer[] = [];
  const seen: Seen[] = [];
  let readable = () => {};
  let lost: string | undefined;
  const packets: PacketPort = {
    take(arena, offset) {
      const next = waiting.shift();
      return next === undefined ? 0 : next.copy(arena, offset);
    },
    write: (records) => seen.push(...packetsIn(records)),
    setReadable: (listener) => (readable = listener),
  };
  const link = createLink({ role: 'laptop', packets, log: silentLog, onLost: (reason) => (lost = reason) });
  link.attach(carrier);
  let lastId = 0;
  const send = (made: readonly Buffer[], virtio = '00'.repeat(VIRTIO_BYTES)) => {
    waiting.push(...made.map((packet) => recordOf(packet, virtio)));
    readable();
  };
  return {
    session,
    address,
    link,
    seen,
    send,
    async fence(destination) {
      const id = (lastId += 1);
      send([ping({ from: address, to: destination, id })]);
      const answered = () => lost !== undefined || seen.some((one) => isPong(one, id));
      await until(`a pong from ${destination}`, answered, SOON);
      if (lost !== undefined) throw new Error(`the websocket was lost: ${lost}`);
    },
    close: () => link.close('DONE'),
  };
}

/** Returns a packet record (PROTOCOL.md §4). */
function recordOf(packet: Buffer, virtio: string): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(VIRTIO_BYTES + packet.length);
  return Buffer.concat([head, Buffer.from(virtio, 'hex'), packet]);
}

function packetsIn(records: Buffer): Seen[] {
  const found: Seen[] = [];
  for (let at = 0; at < records.length;) {
    const length = records.readUInt32BE(at);
    const packet = Buffer.from(records.subarray(at + 4 + VIRTIO_BYTES, at + 4 + length));
    if (packet.readUInt8(0) >> 4 === 4) found.push(parsePacket(packet));
    at += 4 + length;
  }
  return found;
}
