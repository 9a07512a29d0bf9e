/**
 * Two carriers that give each other their messages at the next turn, and keep a record of the texts.
 */
import type { Carrier, CarrierListener } from '../../../src/tunnel/carrier.js';

export interface MemoryCarrier extends Carrier {
  /** Texts sent from this end. */
  readonly texts: string[];
  /** How this end was closed, by whom ever. */
  readonly closedWith: { readonly code: number; readonly reason: string } | undefined;
}

/** Returns both ends. `between` may change, or drop (undefined), a text on its way. */
export function createCarrierPair(
  between: (text: string, from: 'laptop' | 'manager') => string | undefined = (text) => text,
): { laptop: MemoryCarrier; manager: MemoryCarrier } {
  const laptop = new End((text) => between(text, 'laptop'));
  const manager = new End((text) => between(text, 'manager'));
  laptop.peer = manager;
  manager.peer = laptop;
  return { laptop, manager };
}

class End implements MemoryCarrier {
  readonly texts: string[] = [];
  peer: End | undefined;
  closedWith: { readonly code: number; readonly reason: string } | undefined;
  readonly unsentBytes = 0;
  receivedBytes = 0;
  #listener: CarrierListener | undefined;
  readonly #waiting: ((listener: CarrierListener) => void)[] = [];
  readonly #between: (text: string) => string | undefined;

  constructor(between: (text: string) => string | undefined) {
    this.#between = between;
  }

  sendText(message: string): void {
    if (this.closedWith !== undefined) return;
    this.texts.push(message);
    const changed = this.#between(message);
    if (changed !== undefined) this.peer?.arrive((listener) => listener.text(changed));
  }

  sendBinary(message: Buffer, done: () => void): void {
    const copy = Buffer.from(message);
    if (this.closedWith === undefined) this.peer?.arrive((listener) => listener.binary(copy));
    setImmediate(done);
  }

  listen(listener: CarrierListener | undefined): void {
    this.#listener = listener;
    setImmediate(() => this.#flush());
  }

  close(code: number, reason: string): void {
    if (this.closedWith !== undefined) return;
    this.closedWith = { code, reason };
    this.peer?.closeFromPeer(code, reason);
  }

  terminate(): void {
    this.close(1006, '');
  }

  closeFromPeer(code: number, reason: string): void {
    if (this.closedWith !== undefined) return;
    this.arrive((listener) => listener.closed(code, reason));
    setImmediate(() => (this.closedWith ??= { code, reason }));
  }

  arrive(message: (listener: CarrierListener) => void): void {
    this.receivedBytes += 1;
    this.#waiting.push(message);
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (this.#listener === undefined) {
        this.#waiting.unshift(next);
        return;
      }
      next(this.#listener);
    }
  }
}
