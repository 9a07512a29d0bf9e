/**
 * The stream mux: byte streams and datagram flows beside the packets, opened by either end, that outlive the
 * websocket. This file is the table and what frames do to it; mux-writer.ts says what is sent next. PROTOCOL.md §6, §7.
 */
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { CzError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { Json } from '../base/shape.js';
import { codeFromReason } from './carrier.js';
import { Channel, type ChannelUser } from './channel.js';
import { MuxDatagrams, type DatagramFlow } from './datagrams.js';
import { decodeFrames } from './decode.js';
import { ID_MAX, REFUSAL_MAX_BYTES, STREAMS_MAX, TARGET_MAX_BYTES, type Flow, type Frame } from './frame.js';
import { InFlow, WindowBudget } from './inflow.js';
import { MuxWriter } from './mux-writer.js';
import { parseTarget, truncate, waitingUser, type Offer } from './offer.js';
import { KeptBudget, OutFlow } from './outflow.js';
import { STATE, type ResumePoint } from './resume.js';
import { MuxStream } from './stream.js';

/** How long `open` waits for its answer (our choice: longer than a cut that is mended). */
const OPEN_TIMEOUT_MS = 90_000;
/** Replies that may wait to be sent: a peer that opens and never reads is cut off (our choice: every stream once). */
const REPLIES_MAX = 2 * STREAMS_MAX;

export interface MuxOptions {
  readonly role: 'laptop' | 'manager';
  readonly log: Log;
  /** Something waits to be sent. */
  wake(): void;
  /** The peer makes more work than it reads answers: the websocket is to be ended. */
  overrun(): void;
  /** The path's round trip, for the windows' growth. */
  roundTripMs(): number;
}

type OpenFrame = Extract<Frame, { readonly type: 'open' }>;

export class Mux {
  readonly writer: MuxWriter;
  readonly #options: MuxOptions;
  readonly #budget = new WindowBudget();
  readonly #channels = new Map<number, Channel>();
  readonly #counts = { ours: 0, theirs: 0 };
  #acceptor: ((offer: Offer) => void) | undefined;
  #attached = false;
  #closed = false;
  #nextId: number;
  /** Highest id of the peer's that was opened. */
  #seen = 0;
  readonly #kept = new KeptBudget();

  constructor(options: MuxOptions) {
    this.#options = options;
    this.#nextId = options.role === 'laptop' ? 1 : 2;
    this.writer = new MuxWriter({
      wake: () => this.#attached && options.wake(),
      advance: (channel, offset, ended) => this.#advance(channel, offset, ended),
    });
  }

  get openStreams(): number {
    return this.#channels.size;
  }

  /** Takes whoever handles what the peer opens. */
  onOffer(acceptor: (offer: Offer) => void): void {
    this.#acceptor = acceptor;
  }

  /** Resolves when the peer has accepted. @throws the peer's code · BUSY, TOO_LONG, TIMED_OUT, LOST, CLOSED */
  openStream(target: Json): Promise<Duplex> {
    return this.#open('stream', target, (channel) => new MuxStream(channel, this.#host));
  }

  /** As `openStream`, for datagrams. */
  openDatagrams(target: Json): Promise<DatagramFlow> {
    return this.#open('datagrams', target, (channel) => new MuxDatagrams(channel, this.#host));
  }

  /** Takes a whole mux message. @throws MALFORMED, FLOW_CONTROL */
  take(message: Buffer): void {
    decodeFrames(message, (frame) => this.#takeFrame(frame));
  }

  /** What to tell the peer that resumes. PROTOCOL.md §7 */
  resumePoints(): ResumePoint[] {
    const channels = [...this.#channels.values()];
    return [[0, this.#seen, this.#lastId(), 0], ...channels.map((channel) => channel.resumePoint)];
  }

  /** A websocket is there, and the peer says where its streams are. @throws MALFORMED */
  attach(points: readonly ResumePoint[]): void {
    const peer = new Map(points.map((point) => [point[0], point]));
    const [, seenByPeer, lastOfPeer] = peer.get(0) ?? [0, 0, 0];
    this.#seen = Math.min(this.#seen, lastOfPeer); // a peer that starts anew counts anew
    this.writer.clear();
    const channels = [...this.#channels.values()];
    for (const channel of channels) this.#reopen(channel, peer.get(channel.id), seenByPeer);
    for (const channel of channels) this.#resume(channel, peer.get(channel.id));
    this.#attached = true;
    for (const id of peer.keys())
      if (this.#wasOpened(id) && !this.#channels.has(id)) this.#reply({ type: 'reset', id, code: 'LOST' });
    for (const channel of this.#channels.values()) this.writer.ready(channel);
  }

  /** The websocket is gone; the streams wait for the next. */
  detach(): void {
    this.#attached = false;
    this.writer.clear();
    for (const channel of this.#channels.values()) channel.dropDatagrams();
  }

  /** Ends all streams for good. */
  close(): void {
    this.#closed = true;
    for (const channel of this.#channels.values()) this.#end(channel, 'CLOSED', 'the link was closed');
  }

  #open<T extends ChannelUser>(flow: Flow, target: Json, face: (channel: Channel) => T): Promise<T> {
    const text = JSON.stringify(target);
    const error = this.#refusal(text);
    if (error !== undefined) return Promise.reject(error);
    const channel = this.#add(this.#nextId, true, flow, text, 0);
    this.#nextId += 2;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        reject(new CzError('TIMED_OUT', `no answer to an open within ${OPEN_TIMEOUT_MS} ms`));
        this.#abandon(channel);
      }, OPEN_TIMEOUT_MS);
      channel.user = waitingUser(
        () => {
          clearTimeout(late);
          const user = face(channel);
          channel.user = user;
          resolve(user);
        },
        (error) => {
          clearTimeout(late);
          reject(error);
        },
      );
      this.writer.ready(channel);
    });
  }

  #refusal(target: string): CzError | undefined {
    if (this.#closed) return new CzError('CLOSED', 'the link was closed');
    if (Buffer.byteLength(target) > TARGET_MAX_BYTES)
      return new CzError('TOO_LONG', `a target of more than ${TARGET_MAX_BYTES} bytes`);
    const full = this.#counts.ours >= STREAMS_MAX || this.#nextId > ID_MAX;
    return full ? new CzError('BUSY', `more than ${STREAMS_MAX} streams at once`) : undefined;
  }

  #takeFrame(frame: Frame): void {
    if (frame.type === 'open') {
      this.#takeOpen(frame);
      return;
    }
    const channel = this.#channels.get(frame.id);
    if (channel !== undefined) this.#takeChannelFrame(channel, frame);
    else if (!this.#wasOpened(frame.id)) throw new CzError('MALFORMED', 'a frame of a stream never opened');
  }

  #takeOpen(frame: OpenFrame): void {
    const { id, flow } = frame;
    if (id === 0 || this.#isOurs(id) || id <= this.#seen)
      throw new CzError('MALFORMED', 'an open with a wrong id');
    this.#seen = id;
    const target = parseTarget(frame.target);
    if (this.#counts.theirs >= STREAMS_MAX) {
      this.#reply({ type: 'refused', id, code: 'BUSY', message: 'too many streams at once' });
      return;
    }
    const channel = this.#add(id, false, flow, frame.target, flow === 'stream' ? frame.limit : 0);
    const acceptor = this.#acceptor;
    if (acceptor === undefined) this.#refuse(channel, 'NOT_FOUND', 'nobody takes streams here');
    else this.#offer(acceptor, channel, target);
  }

  #offer(acceptor: (offer: Offer) => void, channel: Channel, target: Json): void {
    const refuse = (code: string, message: string) => this.#refuse(channel, code, message);
    try {
      acceptor(
        channel.flow === 'stream'
          ? {
              target,
              refuse,
              flow: 'stream',
              accept: () => this.#accept(channel, new MuxStream(channel, this.#host)),
            }
          : {
              target,
              refuse,
              flow: 'datagrams',
              accept: () => this.#accept(channel, new MuxDatagrams(channel, this.#host)),
            },
      );
    } catch (error) {
      this.#options.log.error('taking a stream failed', { error });
      this.#refuse(channel, 'FAILED', 'it failed; the log says why');
    }
  }

  #accept<T extends ChannelUser>(channel: Channel, user: T): T {
    if (channel.phase !== 'offered') {
      user.takeReset('LOST', 'the stream was over before it was accepted');
      return user;
    }
    channel.phase = 'open';
    channel.user = user;
    channel.dueOpened = true;
    this.writer.ready(channel);
    return user;
  }

  #refuse(channel: Channel, code: string, message: string): void {
    if (channel.phase !== 'offered') return;
    this.#remove(channel);
    const text = truncate(message, REFUSAL_MAX_BYTES);
    const known = codeFromReason(code);
    this.#reply({ type: 'refused', id: channel.id, code: known === '' ? 'FAILED' : known, message: text });
  }

  #takeChannelFrame(channel: Channel, frame: Exclude<Frame, OpenFrame>): void {
    switch (frame.type) {
      case 'opened':
        this.#takeOpened(channel, frame.limit);
        break;
      case 'refused':
        if (channel.phase !== 'opening') throw new CzError('MALFORMED', 'a refusal of an open stream');
        this.#end(channel, frame.code, frame.message);
        break;
      case 'reset':
        this.#takeReset(channel, frame.code);
        break;
      case 'credit':
        channel.out.raise(frame.limit);
        this.#moved(channel);
        break;
      case 'data':
      case 'end':
      case 'datagram':
        this.#takeBytes(channel, frame);
        break;
    }
  }

  #takeOpened(channel: Channel, limit: number): void {
    if (!channel.ours) throw new CzError('MALFORMED', 'an answer that was not waited for');
    if (channel.flow === 'stream') channel.out.raise(limit);
    if (channel.phase !== 'opening') return; // the resume has said so already
    channel.phase = 'open';
    channel.user?.opened();
  }

  #takeBytes(channel: Channel, frame: Extract<Frame, { readonly type: 'data' | 'end' | 'datagram' }>): void {
    const fits = (frame.type === 'datagram') === (channel.flow === 'datagrams');
    if (!fits || channel.phase !== 'open')
      throw new CzError('MALFORMED', 'bytes that a stream does not carry');
    if (frame.type === 'end') {
      channel.in.takeEnd(frame.offset);
      channel.user?.takeEnd();
      this.#finish(channel);
      return;
    }
    if (frame.type === 'data') channel.in.take(frame.offset, frame.bytes.length);
    channel.user?.takeBytes(frame.bytes);
  }

  #takeReset(channel: Channel, code: string): void {
    if (channel.in.ended && channel.out.endSent) this.#remove(channel);
    else this.#end(channel, code, '');
  }

  /** Over without the peer's having to know. */
  #end(channel: Channel, code: string, message: string): void {
    const { user } = channel;
    this.#remove(channel);
    user?.takeReset(code, message);
  }

  /** Its user is gone. */
  #abandon(channel: Channel): void {
    if (channel.phase === 'over') return;
    const unsaid = channel.dueOpen;
    this.#remove(channel);
    if (!unsaid) this.#reply({ type: 'reset', id: channel.id, code: 'CLOSED' });
  }

  /** The peer has more of what was sent. */
  #advance(channel: Channel, offset: number, ended: boolean): void {
    if (channel.phase === 'over') return;
    this.#kept.track(channel.out, () => channel.out.acked(offset, ended));
    this.#moved(channel);
    this.#finish(channel);
  }

  /** There may be room for its user, and something to send. */
  #moved(channel: Channel): void {
    channel.user?.takeRoom();
    this.writer.ready(channel);
  }

  #finish(channel: Channel): void {
    if (channel.complete) this.#remove(channel);
  }

  #add(id: number, ours: boolean, flow: Flow, target: string, limit: number): Channel {
    const inflow = new InFlow(this.#budget, performance.now());
    const channel = new Channel({ id, ours, flow, target, out: new OutFlow(limit), in: inflow });
    this.#channels.set(id, channel);
    this.#counts[ours ? 'ours' : 'theirs'] += 1;
    return channel;
  }

  #remove(channel: Channel): void {
    if (channel.phase === 'over') return;
    channel.phase = 'over';
    channel.in.release();
    this.#kept.track(channel.out, () => channel.out.forget());
    this.#channels.delete(channel.id);
    this.#counts[channel.ours ? 'ours' : 'theirs'] -= 1;
  }

  #reply(frame: Frame): void {
    if (!this.#attached) return; // the resume tells it (PROTOCOL.md §7)
    if (this.writer.replies < REPLIES_MAX) this.writer.reply(frame);
    else this.#options.overrun();
  }

  /** An open that the peer has not seen is sent again: before any newer one, for ids only rise. */
  #reopen(channel: Channel, point: ResumePoint | undefined, seenByPeer: number): void {
    if (channel.phase !== 'opening') return;
    channel.dueOpen = point === undefined && channel.id > seenByPeer;
    this.writer.ready(channel);
  }

  /** Sets a channel right with what the peer says of it. PROTOCOL.md §7 */
  #resume(channel: Channel, point: ResumePoint | undefined): void {
    if (channel.phase === 'over' || channel.dueOpen) return;
    if (point === undefined) {
      if (channel.in.ended && channel.out.endSent) this.#remove(channel);
      else this.#end(channel, 'LOST', 'the other end does not know the stream any more');
      return;
    }
    const [, received, limit, state] = point;
    const opened = (state & STATE.opened) !== 0;
    if (channel.phase === 'opening' && opened) this.#takeOpened(channel, limit);
    if (!channel.ours && channel.phase === 'open') channel.dueOpened = !opened;
    if (channel.flow === 'stream') {
      this.#kept.track(channel.out, () => channel.out.resume(received, (state & STATE.ended) !== 0));
      channel.out.raise(limit);
    }
    channel.dueCredit = channel.flow === 'stream' && channel.phase === 'open' && !channel.dueOpened;
    channel.user?.takeRoom();
    this.#finish(channel);
  }

  #isOurs(id: number): boolean {
    return id % 2 === (this.#options.role === 'laptop' ? 1 : 0);
  }

  #lastId(): number {
    return Math.max(this.#nextId - 2, 0);
  }

  #wasOpened(id: number): boolean {
    return id > 0 && (this.#isOurs(id) ? id < this.#nextId : id <= this.#seen);
  }

  /** What streams and flows ask of this mux. */
  readonly #host = {
    write: (channel: Channel, chunk: Buffer) => {
      if (channel.phase === 'over') return chunk.length; // the reset is on its way to the user
      const length = this.#kept.write(channel.out, chunk);
      if (length > 0) this.writer.ready(channel);
      return length;
    },
    end: (channel: Channel) => {
      channel.out.finish();
      this.writer.ready(channel);
    },
    read: (channel: Channel, length: number) => {
      if (channel.phase === 'over') return;
      const raised = channel.in.read(length, performance.now(), this.#options.roundTripMs());
      if (!raised) return;
      channel.dueCredit = true;
      this.writer.ready(channel);
    },
    ready: (channel: Channel) => this.writer.ready(channel),
    abandon: (channel: Channel) => this.#abandon(channel),
  };
}
