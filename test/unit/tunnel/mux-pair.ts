/**
 * Two muxes and a wire between them that does nothing by itself: a test fills, delivers, acknowledges and cuts.
 */
import { silentLog } from '../../../src/base/log.js';
import { Mux } from '../../../src/tunnel/mux.js';

export class MuxEnd {
  readonly mux: Mux;
  /** Messages on their way to the other end. */
  readonly wire: Buffer[] = [];
  overruns = 0;
  #sent = 0;
  #received = 0;

  constructor(role: 'laptop' | 'manager') {
    this.mux = new Mux({
      role,
      log: silentLog,
      wake: () => undefined,
      overrun: () => (this.overruns += 1),
      roundTripMs: () => 1000,
    });
  }

  /** Puts one message of at most `bytes` on the wire, if there is anything to send. */
  fill(bytes: number): boolean {
    const arena = Buffer.alloc(Math.max(bytes, 8192));
    const length = this.mux.writer.fill(arena, bytes);
    if (length === 0) return false;
    this.#sent += length;
    this.mux.writer.sent(this.#sent);
    this.wire.push(arena.subarray(0, length));
    return true;
  }

  /** Takes the first message on its way here from `peer`. */
  deliver(peer: MuxEnd): boolean {
    const message = peer.wire.shift();
    if (message === undefined) return false;
    this.mux.take(message);
    message.fill(0xee); // it is the receiver's during the call only
    this.#received += message.length;
    return true;
  }

  /** Tells `peer` what was received so far. */
  acknowledge(peer: MuxEnd): void {
    peer.mux.writer.acked(this.#received);
  }

  cut(): void {
    this.mux.detach();
    this.wire.length = 0;
    this.#sent = 0;
    this.#received = 0;
  }
}

export function createMuxPair(): { laptop: MuxEnd; manager: MuxEnd } {
  const pair = { laptop: new MuxEnd('laptop'), manager: new MuxEnd('manager') };
  attach(pair.laptop, pair.manager);
  return pair;
}

/** Joins two ends as a websocket does, each telling the other where its streams are. */
export function attach(laptop: MuxEnd, manager: MuxEnd): void {
  const [ofLaptop, ofManager] = [laptop, manager].map((end) => {
    end.cut();
    return end.mux.resumePoints();
  });
  manager.mux.attach(ofLaptop ?? []);
  laptop.mux.attach(ofManager ?? []);
}

/** Moves everything both ways until nothing moves, a turn of the event loop at a time. */
export async function settle(laptop: MuxEnd, manager: MuxEnd): Promise<void> {
  for (let quiet = 0; quiet < 3;) {
    const moved = [laptop, manager].map((end) => {
      const peer = end === laptop ? manager : laptop;
      const filled = end.fill(66_000);
      const delivered = peer.deliver(end);
      peer.acknowledge(end);
      return filled || delivered;
    });
    quiet = moved.includes(true) ? 0 : quiet + 1;
    await turn();
  }
}

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
