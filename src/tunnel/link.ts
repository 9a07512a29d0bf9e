/**
 * The link: what both ends run after the handshake. It outlives its websockets: `attach` gives it one, and what it
 * carries (packets, control, streams) goes on. On the packet's walk: between the TUN and the carrier, both ways.
 *
 * Files of the link, in the order of a message's way out: pump (what is sent next), window (how much), carrier; and in:
 * this one (which kind), acker (says what came), then the TUN, the mux or control. heartbeat says when nobody is there.
 */
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { CzError, messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { Json } from '../base/shape.js';
import { Acker } from './acker.js';
import { CLOSE, codeFromReason, type Carrier } from './carrier.js';
import { Control, type EventListener, type Handler } from './control.js';
import { KIND } from './frame.js';
import type { DatagramFlow } from './datagrams.js';
import { Heartbeat } from './heartbeat.js';
import { Mux } from './mux.js';
import type { Offer } from './offer.js';
import { decodeAck, decodePing, encodePing } from './path-message.js';
import { Pump, type Source } from './pump.js';
import type { ResumePoint } from './resume.js';
import { PathWindow } from './window.js';

export type { DatagramFlow } from './datagrams.js';
export type { Offer } from './offer.js';
export type { ResumePoint } from './resume.js';

/** Bytes that the socket may hold back before control gives the websocket up (our choice: several times what acks, pongs and replies come to). */
const BACKLOG_MAX_BYTES = 4 * 1024 * 1024;

/** What a peer does wrong (PROTOCOL.md §1); any other error is this end's own. */
const VIOLATIONS = new Set(['MALFORMED', 'FLOW_CONTROL', 'BUSY']);
/** What a peer says that knows no streams of ours (PROTOCOL.md §7). */
const NOTHING_KNOWN: readonly ResumePoint[] = [[0, 0, 0, 0]];

/** Where packets come from and go to; a TunDevice fits. */
export interface PacketPort {
  /**
   * Fills the arena with packet records from `offset` on, about `wanted` bytes or one record, and returns their bytes.
   * 0: none waits, and the listener will be called once when some do.
   */
  take(arena: Buffer, offset: number, wanted: number): number;
  /** Takes records; valid during the call only. @throws MALFORMED if their framing is broken */
  write(records: Buffer): void;
  setReadable(listener: () => void): void;
}

export interface LinkStats {
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly sentMessages: number;
  readonly receivedMessages: number;
  readonly windowBytes: number;
  readonly inFlightBytes: number;
  readonly rateBytesPerSecond: number;
  readonly baseRoundTripMs: number | undefined;
  readonly openStreams: number;
}

export interface LinkOptions {
  readonly role: 'laptop' | 'manager';
  readonly packets: PacketPort;
  readonly log: Log;
  /** The websocket is gone, by a code where there is one (`SILENT`, `SESSION_ENDED`); the link is detached. */
  onLost(reason: string): void;
}

export interface Link {
  /** Takes a carrier whose handshake is done; one that was attached is closed as replaced. `resume` is what the peer said. */
  attach(carrier: Carrier, resume?: readonly ResumePoint[]): void;
  /** Lets the carrier go, closing it. What is open stays open for the next. Idempotent. */
  detach(): void;
  readonly attached: boolean;
  /** Returns what to tell the peer so that it resumes; detaches first, so that it stays true. PROTOCOL.md §7 */
  resumePoints(): readonly ResumePoint[];
  /** Returns the peer's reply. @throws LOST, TIMED_OUT, BUSY · the peer's error by its code */
  request(method: string, params: unknown, timeoutMs?: number): Promise<unknown>;
  /** Answers the peer's requests of this method; a CzError thrown becomes the reply. */
  handle(method: string, handler: Handler): void;
  /** Tells the peer, if a carrier is attached. */
  notify(event: string, params: unknown): void;
  on(event: string, listener: EventListener): void;
  /**
   * Opens a byte stream to what `target` names for the peer; resolves when the peer has accepted. It outlives the websocket.
   * @throws the refusal's code · BUSY, TOO_LONG, TIMED_OUT, LOST, CLOSED
   */
  openStream(target: Json): Promise<Duplex>;
  /** As `openStream`, for datagrams: whole or dropped. */
  openDatagrams(target: Json): Promise<DatagramFlow>;
  /** Takes whoever answers the streams and flows that the peer opens; without one they are refused (`NOT_FOUND`). */
  onStream(acceptor: (offer: Offer) => void): void;
  /** The last heartbeat's round trip, queues included. */
  readonly roundTripMs: number | undefined;
  stats(): LinkStats;
  /** Ends the link for good and tells the peer this code. Idempotent. */
  close(code: string): void;
}

/** Returns a link without a carrier. The caller owns `packets` and closes it after the link. */
export function createLink(options: LinkOptions): Link {
  return new TunnelLink(options);
}

/** What belongs to one carrier and ends with it. */
interface Way {
  readonly carrier: Carrier;
  readonly window: PathWindow;
  readonly pump: Pump;
  readonly acker: Acker;
  readonly heartbeat: Heartbeat;
}

class TunnelLink implements Link {
  readonly #options: LinkOptions;
  readonly #control: Control;
  readonly #mux: Mux;
  readonly #sources: readonly Source[];
  #way: Way | undefined;
  #closed = false;
  #roundTripMs: number | undefined;
  #sentBytes = 0;
  #sentMessages = 0;
  #receivedBytes = 0;
  #receivedMessages = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#control = new Control(options.log);
    this.#mux = new Mux({
      role: options.role,
      log: options.log,
      wake: () => this.#way?.pump.run(),
      overrun: () => this.#endCurrent(CLOSE.violation, 'BUSY'),
      roundTripMs: () => this.#way?.window.roundTripMs ?? 0,
    });
    this.#sources = [this.#packetSource(options.packets), this.#muxSource()];
    options.packets.setReadable(() => this.#way?.pump.run());
  }

  get attached(): boolean {
    return this.#way !== undefined;
  }

  get roundTripMs(): number | undefined {
    return this.#way === undefined ? undefined : this.#roundTripMs;
  }

  attach(carrier: Carrier, resume: readonly ResumePoint[] = NOTHING_KNOWN): void {
    if (this.#closed) {
      carrier.close(CLOSE.done, '');
      return;
    }
    this.#drop(CLOSE.replaced, 'REPLACED');
    const way = this.#openWay(carrier);
    this.#way = way;
    this.#guard(way, () => this.#mux.attach(resume));
    if (this.#way !== way) return;
    this.#control.attach((text) => this.#sendText(carrier, text));
    carrier.listen({
      text: (message) => this.#guard(way, () => this.#control.take(message)),
      binary: (message) => this.#guard(way, () => this.#take(way, message)),
      drained: () => way.pump.run(),
      closed: (code, reason) => this.#lost(way, reason === '' ? `CLOSED_${code}` : reason),
    });
    way.pump.run();
  }

  detach(): void {
    this.#drop(CLOSE.leaving, '');
  }

  resumePoints(): readonly ResumePoint[] {
    this.#drop(CLOSE.replaced, 'REPLACED');
    return this.#mux.resumePoints();
  }

  openStream(target: Json): Promise<Duplex> {
    return this.#mux.openStream(target);
  }

  openDatagrams(target: Json): Promise<DatagramFlow> {
    return this.#mux.openDatagrams(target);
  }

  onStream(acceptor: (offer: Offer) => void): void {
    this.#mux.onOffer(acceptor);
  }

  request(method: string, params: unknown, timeoutMs?: number): Promise<unknown> {
    return this.#control.request(method, params, timeoutMs);
  }

  handle(method: string, handler: Handler): void {
    this.#control.handle(method, handler);
  }

  notify(event: string, params: unknown): void {
    this.#control.notify(event, params);
  }

  on(event: string, listener: EventListener): void {
    this.#control.on(event, listener);
  }

  stats(): LinkStats {
    const window = this.#way?.window;
    return {
      sentBytes: this.#sentBytes,
      receivedBytes: this.#receivedBytes,
      sentMessages: this.#sentMessages,
      receivedMessages: this.#receivedMessages,
      windowBytes: window?.windowBytes ?? 0,
      inFlightBytes: window?.inFlightBytes ?? 0,
      rateBytesPerSecond: Math.round((window?.rate ?? 0) * 1000),
      baseRoundTripMs: window?.baseMs,
      openStreams: this.#mux.openStreams,
    };
  }

  close(code: string): void {
    this.#closed = true;
    this.#drop(CLOSE.done, code);
    this.#mux.close();
  }

  #openWay(carrier: Carrier): Way {
    const window = new PathWindow();
    const acker = new Acker((message) => this.#sendSmall(carrier, message));
    const pump = new Pump({
      sources: this.#sources,
      carrier,
      window,
      beforeSend: () => acker.ride(),
    });
    const heartbeat = new Heartbeat({
      ping: (token) => this.#sendSmall(carrier, encodePing(KIND.ping, token)),
      receivedBytes: () => carrier.receivedBytes,
      silent: (afterMs) => this.#silent(afterMs),
    });
    return { carrier, window, pump, acker, heartbeat };
  }

  #packetSource(packets: PacketPort): Source {
    return {
      fill: (arena, wanted) => {
        const length = this.#takePackets(packets, arena, wanted);
        if (length === 0) return 0;
        arena[0] = KIND.packets;
        return length + 1;
      },
      sent: (_total, length) => this.#countSent(length),
    };
  }

  /** A TUN that is gone ends the websocket. */
  #takePackets(packets: PacketPort, arena: Buffer, wanted: number): number {
    try {
      return packets.take(arena, 1, wanted);
    } catch (error) {
      const code = error instanceof CzError ? error.code : 'FAILED';
      this.#options.log.error('no packets can be taken any more', { cause: messageOf(error), code });
      this.#endCurrent(CLOSE.leaving, code);
      return 0;
    }
  }

  #muxSource(): Source {
    const { writer } = this.#mux;
    return {
      fill: (arena, wanted) => writer.fill(arena, wanted),
      sent: (total, length) => {
        writer.sent(total);
        this.#countSent(length);
      },
    };
  }

  /** A binary message: the kinds of PROTOCOL.md §4. */
  #take(way: Way, message: Buffer): void {
    switch (message[0]) {
      case KIND.packets:
        this.#options.packets.write(message.subarray(1));
        this.#counted(way, message);
        break;
      case KIND.mux:
        this.#mux.take(message);
        this.#counted(way, message);
        break;
      case KIND.ack:
        this.#takeAck(way, message);
        break;
      case KIND.ping:
        this.#sendSmall(way.carrier, encodePing(KIND.pong, decodePing(message)));
        break;
      case KIND.pong:
        this.#takePong(way, decodePing(message));
        break;
      case undefined:
      default:
        throw new CzError('MALFORMED', 'a binary message of no known kind');
    }
  }

  #takeAck(way: Way, message: Buffer): void {
    const { received, heldMicros } = decodeAck(message);
    way.window.acked(performance.now(), received, heldMicros / 1000);
    way.heartbeat.arrived();
    this.#mux.writer.acked(received);
    way.pump.run();
  }

  #takePong(way: Way, token: number): void {
    const roundTrip = way.heartbeat.pong(token);
    if (roundTrip !== undefined) this.#roundTripMs = roundTrip;
  }

  #countSent(length: number): void {
    this.#sentBytes += length;
    this.#sentMessages += 1;
  }

  /** A message is handed on: the peer is to know (PROTOCOL.md §5). */
  #counted(way: Way, message: Buffer): void {
    this.#receivedBytes += message.length;
    this.#receivedMessages += 1;
    if (this.#way === way) way.acker.take(message.length);
  }

  #sendText(carrier: Carrier, text: string): void {
    carrier.sendText(text);
    this.#checkBacklog(carrier);
  }

  #sendSmall(carrier: Carrier, message: Buffer): void {
    carrier.sendBinary(message, noop);
    this.#checkBacklog(carrier);
  }

  /** Replies, pongs and acks are not held back by the window: a peer that asks and never reads must not fill memory. */
  #checkBacklog(carrier: Carrier): void {
    const way = this.#way;
    if (carrier.unsentBytes <= BACKLOG_MAX_BYTES || way?.carrier !== carrier) return;
    this.#end(way, CLOSE.silent, 'BACKLOG');
  }

  /** What the peer sends may be anything: a violation ends the websocket, not the session. */
  #guard(way: Way, take: () => void): void {
    if (this.#way !== way) return;
    try {
      take();
    } catch (error) {
      const code = error instanceof CzError ? codeFromReason(error.code) : '';
      const violation = VIOLATIONS.has(code);
      const what = violation ? 'the other end violated the protocol' : 'taking a message failed';
      this.#options.log.warn(what, { code, cause: messageOf(error) });
      this.#end(way, violation ? CLOSE.violation : CLOSE.leaving, code === '' ? 'FAILED' : code);
    }
  }

  #silent(afterMs: number): void {
    this.#options.log.info('the websocket is silent', { afterMs: Math.round(afterMs) });
    this.#endCurrent(CLOSE.silent, 'SILENT');
  }

  #endCurrent(closeCode: number, reason: string): void {
    if (this.#way !== undefined) this.#end(this.#way, closeCode, reason);
  }

  /** Ends a way for a reason of ours, and says that it is lost. */
  #end(way: Way, closeCode: number, reason: string): void {
    if (this.#way !== way) return;
    this.#drop(closeCode, reason);
    this.#options.onLost(reason);
  }

  #lost(way: Way, reason: string): void {
    if (this.#way !== way) return;
    this.#drop(CLOSE.leaving, '');
    this.#options.onLost(reason);
  }

  #drop(closeCode: number, reason: string): void {
    const way = this.#way;
    if (way === undefined) return;
    this.#way = undefined;
    way.heartbeat.close();
    way.acker.close();
    way.pump.close();
    this.#control.detach();
    this.#mux.detach();
    way.carrier.listen(undefined);
    way.carrier.close(closeCode, reason);
  }
}

function noop(): void {}
