/**
 * Connections that have proved nothing yet. Any pod may make them, so there is room for few, and for each address its
 * share: a newcomer that finds no room takes the place of the oldest one of whoever holds most. Somebody who holds
 * connections open, or makes them without end, crowds out nobody but themselves.
 */
import type { Socket } from 'node:net';

/** Our choice: a team that returns at once fits, and half-received messages of all come to 64 MiB at most. */
const GUESTS_MAX = 256;

export class Guests {
  /** Oldest first. */
  readonly #addresses = new Map<Socket, string>();
  readonly #max: number;

  constructor(max = GUESTS_MAX) {
    this.#max = max;
  }

  get count(): number {
    return this.#addresses.size;
  }

  /** Takes a new connection, until it ends or is released; where there is no room, another one is reset. */
  add(socket: Socket): void {
    socket.once('close', () => this.release(socket));
    this.#addresses.set(socket, socket.remoteAddress ?? '');
    if (this.#addresses.size > this.#max) this.#evict();
  }

  /** Lets a connection go that is no guest any more. Idempotent. */
  release(socket: Socket): void {
    this.#addresses.delete(socket);
  }

  #evict(): void {
    const crowd = this.#mostFrequent();
    for (const [socket, address] of this.#addresses) {
      if (address !== crowd) continue;
      this.release(socket);
      socket.resetAndDestroy();
      return;
    }
  }

  #mostFrequent(): string {
    const counts = new Map<string, number>();
    for (const address of this.#addresses.values()) counts.set(address, (counts.get(address) ?? 0) + 1);
    const [most] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0] as const);
    return most;
  }
}
