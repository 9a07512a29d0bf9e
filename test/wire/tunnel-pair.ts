/**
 * Two carriers over a real websocket on 127.0.0.1, and a packet port that stands in for a TUN.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Carrier } from '../../src/tunnel/carrier.js';
import type { PacketPort } from '../../src/tunnel/link.js';
import { createWebsocketAcceptor, dialWebsocket } from '../../src/tunnel/websocket.js';

export interface CarrierPair {
  readonly laptop: Carrier;
  readonly manager: Carrier;
  /** The sockets under them. */
  readonly laptopSocket: Socket;
  readonly managerSocket: Duplex;
  /** Drops what one direction carries from now on, its end too, without a word to anybody. */
  silence(direction: 'up' | 'down'): void;
}

export interface WebsocketHost {
  /** `direct`: not through the relay that can go silent. */
  dial(options?: { readonly mask?: 'zero' | 'random'; readonly direct?: boolean }): Promise<CarrierPair>;
  close(): Promise<void>;
}

/** Listens on 127.0.0.1 and makes pairs of carriers through it. */
export async function openHost(): Promise<WebsocketHost> {
  const server: Server = createServer();
  const acceptor = createWebsocketAcceptor({ tune: () => undefined });
  const sockets = new Set<Duplex>();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server.address());
  const relay = createTcpServer({ allowHalfOpen: true }, (outer) => {
    const inner = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    sockets.add(outer).add(inner);
    const silentHere = { up: false, down: false };
    relays.push(silentHere);
    forward(outer, inner, () => silentHere.up);
    forward(inner, outer, () => silentHere.down);
  });
  const relays: { up: boolean; down: boolean }[] = [];
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const relayPort = portOf(relay.address());
  return {
    async dial(options = {}) {
      const accepted = new Promise<[Carrier, Duplex]>((resolve, reject) => {
        server.once('upgrade', (request, socket, head) => {
          sockets.add(socket);
          acceptor.accept(request, socket, head).then((carrier) => resolve([carrier, socket]), reject);
        });
      });
      const laptopSocket = connect(options.direct === true ? port : relayPort, '127.0.0.1');
      sockets.add(laptopSocket);
      await once(laptopSocket, 'connect');
      const laptop = await dialWebsocket({
        url: new URL(`ws://127.0.0.1:${port}/v1/session`),
        headers: {},
        createConnection: () => Promise.resolve(laptopSocket),
        tune: () => undefined,
        timeoutMs: 5000,
        ...(options.mask === undefined ? {} : { mask: options.mask }),
      });
      const [manager, managerSocket] = await accepted;
      const here = relays.at(-1);
      const silence = (direction: 'up' | 'down') => {
        if (here !== undefined) here[direction] = true;
      };
      return { laptop, manager, laptopSocket, managerSocket, silence };
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      relay.close();
      await Promise.all([once(server, 'close'), once(relay, 'close')]);
    },
  };
}

function portOf(address: AddressInfo | string | null): number {
  if (typeof address !== 'object' || address === null) throw new Error('listens on no port');
  return address.port;
}

function forward(from: Socket, to: Socket, isSilent: () => boolean): void {
  from.on('data', (chunk) => {
    if (isSilent()) return;
    if (!to.write(chunk)) from.pause();
  });
  to.on('drain', () => from.resume());
  from.on('end', () => isSilent() || to.end());
  from.on('error', () => isSilent() || to.destroy());
}

/** A packet port in memory: gives what is put into it, keeps what is written to it. */
export class FakePort implements PacketPort {
  readonly #waiting: Buffer[] = [];
  #listener: (() => void) | undefined;
  #told = false;
  readonly written: Buffer[] = [];
  onWrite: ((records: Buffer) => void) | undefined;

  /** Queues a packet of these bytes as a record. */
  put(packet: Buffer): void {
    this.#waiting.push(record(packet));
    if (this.#told) {
      this.#told = false;
      this.#listener?.();
    }
  }

  take(arena: Buffer, offset: number): number {
    let at = offset;
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || at + next.length > arena.length) break;
      next.copy(arena, at);
      at += next.length;
      this.#waiting.shift();
    }
    if (at === offset) this.#told = true;
    return at - offset;
  }

  write(records: Buffer): void {
    const copy = Buffer.from(records);
    this.written.push(copy);
    this.onWrite?.(copy);
  }

  setReadable(listener: () => void): void {
    this.#listener = listener;
    this.#told = true;
  }
}

/** Returns `packet` as PROTOCOL.md §4 frames it. */
export function record(packet: Buffer): Buffer {
  const head = Buffer.alloc(14);
  head.writeUInt32BE(packet.length + 10);
  return Buffer.concat([head, packet]);
}

/** Resolves when `condition` holds, tried at each turn of the event loop. */
export async function until(condition: () => boolean, what: string, deadlineMs = 5000): Promise<void> {
  const end = Date.now() + deadlineMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
