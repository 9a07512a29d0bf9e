/**
 * The receiver's half of the path: counts what came and says so, soon, but not for each message. PROTOCOL.md §5.
 */
import { performance } from 'node:perf_hooks';
import { encodeAck } from './path-message.js';

/** An ack is due when so many bytes wait for one … (PROTOCOL.md §5) */
const ACK_DUE_BYTES = 64 * 1024;
/** … or this long after the first of them (PROTOCOL.md §5). */
const ACK_DUE_MS = 2;
/** An ack rides along with other data from here (our choice: it costs no system call of its own then). */
const ACK_RIDE_BYTES = 16 * 1024;

export class Acker {
  readonly #send: (message: Buffer) => void;
  #received = 0;
  #pending = 0;
  #lastAt = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #flush = () => {
    this.#timer = undefined;
    this.flush();
  };

  /** `send` gets whole messages. */
  constructor(send: (message: Buffer) => void) {
    this.#send = send;
  }

  get receivedBytes(): number {
    return this.#received;
  }

  /** A counted message of this many bytes was received and handed on. */
  take(bytes: number): void {
    this.#received += bytes;
    this.#pending += bytes;
    this.#lastAt = performance.now();
    if (this.#pending >= ACK_DUE_BYTES) this.flush();
    else this.#timer ??= setTimeout(this.#flush, ACK_DUE_MS);
  }

  /** Something is being sent anyway: the ack goes with it where it is worth its bytes. */
  ride(): void {
    if (this.#pending >= ACK_RIDE_BYTES) this.flush();
  }

  /** Sends the ack that is due, if any. */
  flush(): void {
    if (this.#pending === 0) return;
    this.#pending = 0;
    const heldMicros = (performance.now() - this.#lastAt) * 1000;
    this.#send(encodeAck({ received: this.#received, heldMicros }));
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#pending = 0;
  }
}
