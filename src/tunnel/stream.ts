/**
 * The user's face of a mux stream: a Node Duplex. Back-pressure both ways; ending one direction leaves the other
 * open; destroying it resets the stream unless both directions had ended.
 */
import { Duplex } from 'node:stream';
import { CzError } from '../base/errors.js';
import { ByteRing } from './byte-ring.js';
import type { Channel, ChannelUser } from './channel.js';

/** Bytes read ahead for the user, and per chunk (our choice: as Node's sockets). */
const READ_BYTES = 64 * 1024;

/** What a stream asks of the mux. */
export interface StreamHost {
  /** Takes what there is room for and returns how much. */
  write(channel: Channel, chunk: Buffer): number;
  end(channel: Channel): void;
  /** The user has read so many bytes. */
  read(channel: Channel, length: number): void;
  /** The user is gone. */
  abandon(channel: Channel): void;
}

type Done = (error?: Error | null) => void;

export class MuxStream extends Duplex implements ChannelUser {
  readonly #channel: Channel;
  readonly #host: StreamHost;
  readonly #unread = new ByteRing();
  #wanted = false;
  #inEnded = false;
  #pending: { chunk: Buffer; readonly done: Done } | undefined;

  constructor(channel: Channel, host: StreamHost) {
    super({ allowHalfOpen: true, readableHighWaterMark: READ_BYTES, writableHighWaterMark: READ_BYTES });
    this.#channel = channel;
    this.#host = host;
  }

  opened(): void {}

  takeBytes(bytes: Buffer): void {
    if (this.destroyed) return;
    this.#unread.append(bytes);
    this.#deliver();
  }

  takeEnd(): void {
    this.#inEnded = true;
    this.#deliver();
  }

  takeReset(code: string, message: string): void {
    const text = message === '' ? 'the stream was reset' : message;
    this.destroy(new CzError(code, text));
  }

  takeRoom(): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    pending.chunk = pending.chunk.subarray(this.#host.write(this.#channel, pending.chunk));
    if (pending.chunk.length > 0) return;
    this.#pending = undefined;
    pending.done();
  }

  override _read(): void {
    this.#wanted = true;
    this.#deliver();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#pending = { chunk, done };
    this.takeRoom();
  }

  override _final(done: Done): void {
    this.#host.end(this.#channel);
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    const pending = this.#pending;
    this.#pending = undefined;
    this.#unread.drop(this.#unread.length);
    if (!(this.writableFinished && this.readableEnded)) this.#host.abandon(this.#channel);
    pending?.done(error ?? new CzError('CLOSED', 'the stream was closed'));
    done(error);
  }

  #deliver(): void {
    while (this.#wanted && this.#unread.length > 0) {
      const chunk = this.#unread.take(Math.min(this.#unread.length, READ_BYTES));
      this.#wanted = this.push(chunk);
      this.#host.read(this.#channel, chunk.length);
    }
    if (this.#wanted && this.#inEnded && this.#unread.length === 0) {
      this.#wanted = false;
      this.push(null);
    }
  }
}
