/**
 * What the mux sends next: frames of all channels that have some, in turn, packed into messages; and what becomes of
 * them when the peer has them. A source of the pump. PROTOCOL.md §6.
 */
import type { Channel } from './channel.js';
import { DATA_HEAD_BYTES, encodeDataHead, encodeFrame, sizeOfFrame } from './encode.js';
import { KIND, type Frame } from './frame.js';
import type { Source } from './pump.js';

/** Bytes that a stream sends in its turn (our choice: a small request beside bulk waits for few of these). */
const TURN_BYTES = 16 * 1024;
/** A data frame for less room than this waits for the next message. */
const DATA_LEAST_BYTES = 512;

interface Sent {
  total: number;
  readonly channel: Channel;
  readonly offset: number;
  readonly ended: boolean;
}

export class MuxWriter implements Source {
  readonly #wake: () => void;
  readonly #advance: (channel: Channel, offset: number, ended: boolean) => void;
  /** Refusals and resets: their channels are gone. */
  #replies: Frame[] = [];
  #queue: Channel[] = [];
  #unacked: Sent[] = [];
  #filled = new Map<Channel, Sent>();

  /** `wake`: something waits to be sent. `advance`: the peer has the channel's bytes up to here, and its end if `ended`. */
  constructor(options: {
    readonly wake: () => void;
    readonly advance: (channel: Channel, offset: number, ended: boolean) => void;
  }) {
    this.#wake = options.wake;
    this.#advance = options.advance;
  }

  /** Replies that wait to be sent. */
  get replies(): number {
    return this.#replies.length;
  }

  /** Sends a frame of a channel that is not (any more) in the table. */
  reply(frame: Frame): void {
    this.#replies.push(frame);
    this.#wake();
  }

  /** The channel has something to send. */
  ready(channel: Channel): void {
    if (channel.queued || !channel.hasFrames) return;
    channel.queued = true;
    this.#queue.push(channel);
    this.#wake();
  }

  /** The websocket is gone: what was on its way is unknown now. */
  clear(): void {
    for (const channel of this.#queue) channel.queued = false;
    this.#replies = [];
    this.#queue = [];
    this.#unacked = [];
    this.#filled = new Map();
  }

  fill(arena: Buffer, wanted: number): number {
    if (this.#replies.length === 0 && this.#queue.length === 0) return 0;
    return this.#fill(arena.subarray(0, wanted)) || this.#fill(arena);
  }

  sent(total: number): void {
    for (const sent of this.#filled.values()) {
      sent.total = total;
      this.#unacked.push(sent);
    }
    if (this.#filled.size > 0) this.#filled = new Map();
  }

  /** The peer has handed on all messages up to the path's `total`. */
  acked(total: number): void {
    let count = 0;
    for (const sent of this.#unacked) {
      if (sent.total > total) break;
      count += 1;
    }
    if (count === 0) return;
    const acked = this.#unacked.slice(0, count);
    this.#unacked = this.#unacked.slice(count);
    for (const { channel, offset, ended } of acked) this.#advance(channel, offset, ended);
  }

  /** Writes one message; 0: not even the first frame fits. */
  #fill(arena: Buffer): number {
    arena[0] = KIND.mux;
    let at = this.#fillReplies(arena, 1);
    for (let channel = this.#queue[0]; channel !== undefined; channel = this.#queue[0]) {
      const behind = this.#fillChannel(channel, arena, at);
      if (behind === undefined) break;
      at = behind;
      this.#queue.shift();
      channel.queued = channel.hasFrames;
      if (channel.queued) this.#queue.push(channel);
    }
    return at === 1 ? 0 : at;
  }

  #fillReplies(arena: Buffer, at: number): number {
    let behind = at;
    let count = 0;
    for (const frame of this.#replies) {
      if (behind + sizeOfFrame(frame) > arena.length) break;
      behind = encodeFrame(arena, behind, frame);
      count += 1;
    }
    if (count > 0) this.#replies = this.#replies.slice(count);
    return behind;
  }

  /** Writes what the channel may send in its turn; undefined: there is no room for any more of it. */
  #fillChannel(channel: Channel, arena: Buffer, start: number): number | undefined {
    let at = start;
    for (let frame = nextFrame(channel); frame !== undefined; frame = nextFrame(channel)) {
      if (at + sizeOfFrame(frame) > arena.length) return at === start ? undefined : at;
      at = encodeFrame(arena, at, frame);
      settle(channel, frame);
    }
    if (channel.phase !== 'open' || channel.flow !== 'stream') return at;
    at = this.#fillData(channel, arena, at);
    if (channel.out.endDue && at + DATA_HEAD_BYTES <= arena.length) {
      at = encodeFrame(arena, at, { type: 'end', id: channel.id, offset: channel.out.offset });
      channel.out.sendEnd();
      this.#note(channel);
    }
    return at === start && channel.hasFrames ? undefined : at;
  }

  #fillData(channel: Channel, arena: Buffer, at: number): number {
    const room = arena.length - at - DATA_HEAD_BYTES;
    const length = Math.min(channel.out.sendable, TURN_BYTES, room);
    if (length <= 0 || (length === room && length < DATA_LEAST_BYTES)) return at;
    const behind = encodeDataHead(arena, at, channel.id, channel.out.offset, length);
    channel.out.send(arena, behind, length);
    this.#note(channel);
    return behind + length;
  }

  #note(channel: Channel): void {
    const { offset, endSent } = channel.out;
    this.#filled.set(channel, { total: 0, channel, offset, ended: endSent });
  }
}

/** Returns the channel's next frame other than data. */
function nextFrame(channel: Channel): Frame | undefined {
  const { id, flow, target } = channel;
  const limit = flow === 'stream' ? channel.in.limit : 0;
  if (channel.dueOpen) return { type: 'open', id, flow, limit, target };
  if (channel.dueOpened) return { type: 'opened', id, limit };
  if (channel.dueCredit && flow === 'stream') return { type: 'credit', id, limit };
  const [bytes] = channel.datagrams;
  return bytes === undefined || channel.phase !== 'open' ? undefined : { type: 'datagram', id, bytes };
}

/** The frame is in a message: it is not due any more. */
function settle(channel: Channel, frame: Frame): void {
  if (frame.type === 'open') channel.dueOpen = false;
  if (frame.type === 'opened') channel.dueOpened = false;
  if (frame.type !== 'datagram') channel.dueCredit = false; // all of them say the limit
  if (frame.type !== 'datagram') return;
  channel.datagrams.shift();
  channel.datagramBytes -= frame.bytes.length;
}
