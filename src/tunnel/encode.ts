/**
 * Mux frames to bytes, into an arena that the caller owns. PROTOCOL.md §6. Nothing is checked here but the room: what is
 * encoded is ours.
 */
import { FRAME, type Frame } from './frame.js';

/** Bytes of a frame's type and id. */
const HEAD_BYTES = 5;
/** Bytes of a data frame before its data: head, offset, length. */
export const DATA_HEAD_BYTES = HEAD_BYTES + 6 + 4;
/** Bytes of a datagram frame before its data: head, length. */
const DATAGRAM_HEAD_BYTES = HEAD_BYTES + 4;

/** Returns how many bytes the frame takes. */
export function sizeOfFrame(frame: Frame): number {
  switch (frame.type) {
    case 'open':
      return HEAD_BYTES + 1 + 6 + 2 + Buffer.byteLength(frame.target);
    case 'refused':
      return HEAD_BYTES + 1 + Buffer.byteLength(frame.code) + 2 + Buffer.byteLength(frame.message);
    case 'data':
      return DATA_HEAD_BYTES + frame.bytes.length;
    case 'opened':
    case 'credit':
    case 'end':
      return HEAD_BYTES + 6;
    case 'reset':
      return HEAD_BYTES + 1 + Buffer.byteLength(frame.code);
    case 'datagram':
    default:
      return DATAGRAM_HEAD_BYTES + frame.bytes.length;
  }
}

/** Writes the frame at `at` and returns the offset behind it; the caller has seen to the room. */
export function encodeFrame(arena: Buffer, at: number, frame: Frame): number {
  switch (frame.type) {
    case 'open':
      return encodeOpen(arena, at, frame);
    case 'refused': {
      const behind = shortText(arena, head(arena, at, FRAME.refused, frame.id), frame.code);
      return longText(arena, behind, frame.message);
    }
    case 'data': {
      const behind = encodeDataHead(arena, at, frame.id, frame.offset, frame.bytes.length);
      return behind + frame.bytes.copy(arena, behind);
    }
    case 'opened':
    case 'credit':
      return arena.writeUIntBE(frame.limit, head(arena, at, FRAME[frame.type], frame.id), 6);
    case 'end':
      return arena.writeUIntBE(frame.offset, head(arena, at, FRAME.end, frame.id), 6);
    case 'reset':
      return shortText(arena, head(arena, at, FRAME.reset, frame.id), frame.code);
    case 'datagram':
    default: {
      const length = head(arena, at, FRAME.datagram, frame.id);
      const behind = arena.writeUInt32BE(frame.bytes.length, length);
      return behind + frame.bytes.copy(arena, behind);
    }
  }
}

/** Writes a data frame's head for `length` bytes, which the caller puts behind it; returns where. */
export function encodeDataHead(
  arena: Buffer,
  at: number,
  id: number,
  offset: number,
  length: number,
): number {
  const behind = arena.writeUIntBE(offset, head(arena, at, FRAME.data, id), 6);
  return arena.writeUInt32BE(length, behind);
}

function encodeOpen(arena: Buffer, at: number, frame: Extract<Frame, { type: 'open' }>): number {
  let behind = head(arena, at, FRAME.open, frame.id);
  behind = arena.writeUInt8(frame.flow === 'stream' ? 0 : 1, behind);
  behind = arena.writeUIntBE(frame.limit, behind, 6);
  return longText(arena, behind, frame.target);
}

function head(arena: Buffer, at: number, type: number, id: number): number {
  arena[at] = type;
  return arena.writeUInt32BE(id, at + 1);
}

function shortText(arena: Buffer, at: number, text: string): number {
  const length = arena.write(text, at + 1);
  arena[at] = length;
  return at + 1 + length;
}

function longText(arena: Buffer, at: number, text: string): number {
  const length = arena.write(text, at + 2);
  arena.writeUInt16BE(length, at);
  return at + 2 + length;
}
