/**
 * A queue of bytes in one buffer that grows by doubling and is let go when empty: what a stream keeps costs what it
 * holds, however small the pieces were.
 */

const SIZE_MIN_BYTES = 4096;
/** A buffer above this is let go when it is empty (our choice: idle streams cost little). */
const SIZE_KEPT_BYTES = 16 * 1024;

export class ByteRing {
  #buffer = Buffer.alloc(0);
  #start = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Copies the chunk behind what is there. */
  append(chunk: Buffer): void {
    this.#reserve(this.#length + chunk.length);
    const to = (this.#start + this.#length) % this.#buffer.length;
    const first = Math.min(chunk.length, this.#buffer.length - to);
    chunk.copy(this.#buffer, to, 0, first);
    chunk.copy(this.#buffer, 0, first);
    this.#length += chunk.length;
  }

  /** Copies `length` bytes, `skip` bytes from the front, to `target` at `at`. */
  copy(skip: number, target: Buffer, at: number, length: number): void {
    if (length === 0) return;
    const from = (this.#start + skip) % this.#buffer.length;
    const first = Math.min(length, this.#buffer.length - from);
    this.#buffer.copy(target, at, from, from + first);
    this.#buffer.copy(target, at + first, 0, length - first);
  }

  /** Removes `length` bytes at the front and returns them in a buffer of their own. */
  take(length: number): Buffer {
    const taken = Buffer.allocUnsafe(length);
    this.copy(0, taken, 0, length);
    this.drop(length);
    return taken;
  }

  /** Removes `length` bytes at the front. */
  drop(length: number): void {
    this.#length -= length;
    this.#start = this.#length === 0 ? 0 : (this.#start + length) % this.#buffer.length;
    if (this.#length === 0 && this.#buffer.length > SIZE_KEPT_BYTES) this.#buffer = Buffer.alloc(0);
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#buffer.length) return;
    let size = Math.max(this.#buffer.length * 2, SIZE_MIN_BYTES);
    while (size < bytes) size *= 2;
    const buffer = Buffer.allocUnsafeSlow(size);
    this.copy(0, buffer, 0, this.#length);
    this.#buffer = buffer;
    this.#start = 0;
  }
}
