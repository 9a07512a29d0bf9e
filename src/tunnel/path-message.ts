/**
 * The bytes of acks, pings and pongs. PROTOCOL.md §5.
 */
import { CzError } from '../base/errors.js';
import { KIND, OFFSET_MAX } from './frame.js';

const ACK_BYTES = 11;
const PING_BYTES = 5;
const MICROS_MAX = 2 ** 32 - 1;

export interface Ack {
  /** Bytes received in all. */
  readonly received: number;
  /** How long the last of them had waited when the ack left. */
  readonly heldMicros: number;
}

/** Returns the whole message of an ack. */
export function encodeAck({ received, heldMicros }: Ack): Buffer {
  const message = Buffer.allocUnsafe(ACK_BYTES);
  message[0] = KIND.ack;
  message.writeUIntBE(Math.min(received, OFFSET_MAX), 1, 6);
  message.writeUInt32BE(Math.min(Math.max(Math.round(heldMicros), 0), MICROS_MAX), 7);
  return message;
}

/** Returns the whole message of a ping or a pong. `token` is a u32. */
export function encodePing(kind: typeof KIND.ping | typeof KIND.pong, token: number): Buffer {
  const message = Buffer.allocUnsafe(PING_BYTES);
  message[0] = kind;
  message.writeUInt32BE(token, 1);
  return message;
}

/** Returns what the whole message of an ack says. @throws MALFORMED */
export function decodeAck(message: Buffer): Ack {
  if (message.length !== ACK_BYTES) throw new CzError('MALFORMED', `an ack of ${message.length} bytes`);
  return { received: message.readUIntBE(1, 6), heldMicros: message.readUInt32BE(7) };
}

/** Returns the token of a whole ping or pong. @throws MALFORMED */
export function decodePing(message: Buffer): number {
  if (message.length !== PING_BYTES) throw new CzError('MALFORMED', `a ping of ${message.length} bytes`);
  return message.readUInt32BE(1);
}
