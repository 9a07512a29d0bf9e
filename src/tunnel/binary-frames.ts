/**
 * Takes whole binary messages out of a websocket's bytes, before the websocket's own parser sees them: gathered in one
 * buffer that is used again, so that bulk leaves nothing to collect (each message and each chunk as a Buffer of its own
 * make V8 collect its whole heap, dozens of times a second). Every other frame goes on unchanged. RFC 6455 §5.2
 */

const OPCODE = { binary: 2, close: 8 } as const;
const HEAD_MAX_BYTES = 14;
const NO_MASK = Buffer.alloc(4);

export interface BinaryFramesOptions {
  /** Longer messages go on with the rest: the parser knows what to say. */
  readonly limitBytes: number;
  /** Whether the peer's frames are masked (RFC 6455 §5.1). */
  readonly masked: boolean;
  /** A message; the buffer is the listener's during the call only. */
  binary(message: Buffer): void;
  /** Bytes of all other frames, in order; the listener's for good. */
  other(bytes: Buffer): void;
}

export class BinaryFrames {
  readonly #options: BinaryFramesOptions;
  readonly #head = Buffer.alloc(HEAD_MAX_BYTES);
  #headBytes = 0;
  /** Of the frame at hand: its length, how much of it is still to come, and whether it is one of ours. */
  #length = 0;
  #left = 0;
  #ours = false;
  #message: Buffer | undefined;
  /** A message in fragments is under way: all of it is the parser's. */
  #fragmented = false;
  #closed = false;

  constructor(options: BinaryFramesOptions) {
    this.#options = options;
  }

  /** Takes the next bytes of the connection; the buffer may be unmasked in place. */
  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.#closed;)
      at = this.#left === 0 ? this.#begin(chunk, at) : this.#continue(chunk, at);
  }

  #begin(chunk: Buffer, from: number): number {
    let at = from;
    while (this.#headBytes < this.#headLength()) {
      const byte = chunk[at];
      if (byte === undefined) return at;
      this.#head[this.#headBytes] = byte;
      this.#headBytes += 1;
      at += 1;
    }
    this.#judge();
    if (this.#length === 0) this.#end(chunk.subarray(0, 0));
    return at;
  }

  /** What is known of the head says how long it is. */
  #headLength(): number {
    if (this.#headBytes < 2) return 2;
    const second = this.#head.readUInt8(1);
    const short = second & 0x7f;
    return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (second >= 0x80 ? 4 : 0);
  }

  #judge(): void {
    const [first, second] = [this.#head.readUInt8(0), this.#head.readUInt8(1)];
    const short = second & 0x7f;
    if (short === 127) this.#length = Number(this.#head.readBigUInt64BE(2));
    else this.#length = short === 126 ? this.#head.readUInt16BE(2) : short;
    this.#left = this.#length;
    const plain = first === (0x80 | OPCODE.binary) && second >= 0x80 === this.#options.masked;
    this.#ours = plain && !this.#fragmented && this.#length <= this.#options.limitBytes;
    if (!this.#ours) this.#passHead(first);
  }

  #passHead(first: number): void {
    const [final, opcode] = [first >= 0x80, first & 0x0f];
    if (opcode <= OPCODE.binary) this.#fragmented = !final;
    this.#options.other(Buffer.from(this.#head.subarray(0, this.#headBytes)));
  }

  #continue(chunk: Buffer, at: number): number {
    const part = chunk.subarray(at, at + this.#left);
    this.#left -= part.length;
    if (!this.#ours) {
      this.#options.other(Buffer.from(part));
      if (this.#left === 0) this.#end(part);
    } else if (part.length === this.#length) {
      this.#end(part);
    } else {
      this.#message ??= Buffer.allocUnsafeSlow(this.#options.limitBytes);
      part.copy(this.#message, this.#length - this.#left - part.length);
      if (this.#left === 0) this.#end(this.#message.subarray(0, this.#length));
    }
    return at + part.length;
  }

  #end(message: Buffer): void {
    const ours = this.#ours;
    this.#closed = !ours && (this.#head.readUInt8(0) & 0x0f) === OPCODE.close;
    if (ours && this.#options.masked)
      unmask(message, this.#head.subarray(this.#headBytes - 4, this.#headBytes));
    this.#headBytes = 0;
    if (ours) this.#options.binary(message);
  }
}

function unmask(message: Buffer, mask: Buffer): void {
  if (mask.equals(NO_MASK)) return;
  for (let at = 0; at < message.length; at += 1)
    message.writeUInt8(message.readUInt8(at) ^ mask.readUInt8(at & 3), at);
}
