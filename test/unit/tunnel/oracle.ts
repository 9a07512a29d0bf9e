/**
 * A slow codec of binary messages, written from PROTOCOL.md alone: everything as hex text and JSON. What the program's
 * codec says is compared with it.
 */

/** A message as PROTOCOL.md's examples write it. */
export type Message =
  | { kind: 'packets'; records: { virtio: string; packet: string }[] }
  | { kind: 'ack'; received: number; heldMicros: number }
  | { kind: 'ping' | 'pong'; token: number }
  | { kind: 'mux'; frames: OracleFrame[] };

export type OracleFrame =
  | { type: 'open'; id: number; flow: 'stream' | 'datagrams'; limit: number; target: string }
  | { type: 'opened' | 'credit'; id: number; limit: number }
  | { type: 'refused'; id: number; code: string; message: string }
  | { type: 'data'; id: number; offset: number; bytes: string }
  | { type: 'end'; id: number; offset: number }
  | { type: 'reset'; id: number; code: string }
  | { type: 'datagram'; id: number; bytes: string };

/** Returns the message's bytes in hex. */
export function encodeSlowly(message: Message): string {
  switch (message.kind) {
    case 'packets':
      return `01${message.records.map(({ virtio, packet }) => counted(4, virtio + packet)).join('')}`;
    case 'mux':
      return `02${message.frames.map(frameInHex).join('')}`;
    case 'ack':
      return `03${number(6, message.received)}${number(4, message.heldMicros)}`;
    case 'ping':
      return `04${number(4, message.token)}`;
    case 'pong':
    default:
      return `05${number(4, message.token)}`;
  }
}

function frameInHex(frame: OracleFrame): string {
  const id = number(4, frame.id);
  switch (frame.type) {
    case 'open':
      return `01${id}${frame.flow === 'stream' ? '00' : '01'}${number(6, frame.limit)}${counted(2, hex(frame.target))}`;
    case 'opened':
      return `02${id}${number(6, frame.limit)}`;
    case 'refused':
      return `03${id}${counted(1, hex(frame.code))}${counted(2, hex(frame.message))}`;
    case 'data':
      return `04${id}${number(6, frame.offset)}${counted(4, frame.bytes)}`;
    case 'credit':
      return `05${id}${number(6, frame.limit)}`;
    case 'end':
      return `06${id}${number(6, frame.offset)}`;
    case 'reset':
      return `07${id}${counted(1, hex(frame.code))}`;
    case 'datagram':
    default:
      return `08${id}${counted(4, frame.bytes)}`;
  }
}

function number(bytes: number, value: number): string {
  return value.toString(16).padStart(bytes * 2, '0');
}

function counted(bytes: number, content: string): string {
  return number(bytes, content.length / 2) + content;
}

function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}
