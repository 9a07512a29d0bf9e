/**
 * The user's face of a datagram flow: datagrams whole or not at all, never waiting. PROTOCOL.md §6.
 */
import type { Channel, ChannelUser } from './channel.js';
import { DATAGRAM_MAX_BYTES } from './frame.js';

/** Bytes of datagrams that wait to be sent, per flow (PROTOCOL.md §6). */
const WAITING_MAX_BYTES = 256 * 1024;
/** What a waiting datagram costs beside its bytes (our choice: so that empty ones are bounded as well). */
const OVERHEAD_BYTES = 64;

export interface DatagramFlow {
  /** Sends a copy, or drops it: false, where too much waits or it is longer than 65 507 bytes. */
  send(datagram: Buffer): boolean;
  /** The bytes are valid during the call only. Datagrams that come before there is a listener are dropped. */
  onDatagram(listener: (datagram: Buffer) => void): void;
  /** Called once when the flow is over otherwise than by `close`, with its code. */
  onClosed(listener: (code: string) => void): void;
  /** Idempotent. */
  close(): void;
}

/** What a flow asks of the mux. */
export interface DatagramHost {
  ready(channel: Channel): void;
  abandon(channel: Channel): void;
}

export class MuxDatagrams implements DatagramFlow, ChannelUser {
  readonly #channel: Channel;
  readonly #host: DatagramHost;
  #listener: ((datagram: Buffer) => void) | undefined;
  #closed: ((code: string) => void) | undefined;
  #over = false;
  #code: string | undefined;

  constructor(channel: Channel, host: DatagramHost) {
    this.#channel = channel;
    this.#host = host;
  }

  send(datagram: Buffer): boolean {
    const channel = this.#channel;
    const cost = channel.datagramBytes + (channel.datagrams.length + 1) * OVERHEAD_BYTES + datagram.length;
    if (this.#over || datagram.length > DATAGRAM_MAX_BYTES || cost > WAITING_MAX_BYTES) return false;
    channel.datagrams.push(Buffer.from(datagram));
    channel.datagramBytes += datagram.length;
    this.#host.ready(channel);
    return true;
  }

  onDatagram(listener: (datagram: Buffer) => void): void {
    this.#listener = listener;
  }

  onClosed(listener: (code: string) => void): void {
    this.#closed = listener;
    const code = this.#code;
    if (code !== undefined) queueMicrotask(() => listener(code));
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#host.abandon(this.#channel);
  }

  takeBytes(bytes: Buffer): void {
    this.#listener?.(bytes);
  }

  takeReset(code: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#code = code;
    this.#closed?.(code);
  }

  opened(): void {}
  takeEnd(): void {}
  takeRoom(): void {}
}
