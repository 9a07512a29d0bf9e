/**
 * Bytes to mux frames. PROTOCOL.md §6. Every length is checked before it is followed; texts are checked for their form,
 * so that they may go into errors and logs.
 */
import { CzError } from '../base/errors.js';
import { codeFromReason } from './carrier.js';
import {
  CODE_MAX_BYTES,
  DATAGRAM_MAX_BYTES,
  DATA_MAX_BYTES,
  FRAME,
  REFUSAL_MAX_BYTES,
  TARGET_MAX_BYTES,
  type Frame,
} from './frame.js';

/**
 * Gives each frame of a mux message to `take`, in order; bytes in them are views into the message.
 * @throws MALFORMED · what `take` throws
 */
export function decodeFrames(message: Buffer, take: (frame: Frame) => void): void {
  const reader = new Reader(message, 1);
  while (reader.left > 0) take(decodeFrame(reader));
}

function decodeFrame(reader: Reader): Frame {
  const type = reader.number(1);
  const id = reader.number(4);
  switch (type) {
    case FRAME.open:
      return decodeOpen(reader, id);
    case FRAME.opened:
      return { type: 'opened', id, limit: reader.number(6) };
    case FRAME.refused:
      return { type: 'refused', id, code: reader.code(), message: reader.text(2, REFUSAL_MAX_BYTES) };
    case FRAME.data:
      return decodeData(reader, id);
    case FRAME.credit:
      return { type: 'credit', id, limit: reader.number(6) };
    case FRAME.end:
      return { type: 'end', id, offset: reader.number(6) };
    case FRAME.reset:
      return { type: 'reset', id, code: reader.code() };
    case FRAME.datagram:
      return { type: 'datagram', id, bytes: reader.bytes(4, DATAGRAM_MAX_BYTES) };
    default:
      throw malformed('a frame of no known type');
  }
}

function decodeOpen(reader: Reader, id: number): Frame {
  const flow = reader.number(1);
  if (flow > 1) throw malformed('an open of no known flow');
  const limit = reader.number(6);
  const target = reader.text(2, TARGET_MAX_BYTES);
  return { type: 'open', id, flow: flow === 0 ? 'stream' : 'datagrams', limit, target };
}

function decodeData(reader: Reader, id: number): Frame {
  const offset = reader.number(6);
  const bytes = reader.bytes(4, DATA_MAX_BYTES);
  if (bytes.length === 0) throw malformed('a data frame without data');
  return { type: 'data', id, offset, bytes };
}

class Reader {
  readonly #message: Buffer;
  #at: number;

  constructor(message: Buffer, at: number) {
    this.#message = message;
    this.#at = at;
  }

  get left(): number {
    return this.#message.length - this.#at;
  }

  number(bytes: number): number {
    if (this.left < bytes) throw malformed('a frame cut short');
    const value = this.#message.readUIntBE(this.#at, bytes);
    this.#at += bytes;
    return value;
  }

  /** Bytes behind their length. */
  bytes(lengthBytes: number, most: number): Buffer {
    const length = this.number(lengthBytes);
    if (length > most || length > this.left) throw malformed('a frame of a wrong length');
    const bytes = this.#message.subarray(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }

  text(lengthBytes: number, most: number): string {
    return this.bytes(lengthBytes, most).toString();
  }

  code(): string {
    const code = codeFromReason(this.text(1, CODE_MAX_BYTES));
    if (code === '') throw malformed('a code of a wrong form');
    return code;
  }
}

function malformed(what: string): CzError {
  return new CzError('MALFORMED', what);
}
