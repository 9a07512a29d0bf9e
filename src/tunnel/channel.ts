/**
 * One stream or datagram flow as the mux sees it: its state, both directions, and what it has to say next. The user's face
 * of it is stream.ts or datagrams.ts.
 */
import type { Flow } from './frame.js';
import type { InFlow } from './inflow.js';
import type { OutFlow } from './outflow.js';
import { STATE, type ResumePoint } from './resume.js';

/** opening: ours, unanswered · offered: the peer's, unanswered · open · over: no frame of it is sent or taken any more. */
export type Phase = 'opening' | 'offered' | 'open' | 'over';

/** What the mux tells a channel's user. */
export interface ChannelUser {
  opened(): void;
  /** The bytes are valid during the call only. */
  takeBytes(bytes: Buffer): void;
  takeEnd(): void;
  /** Over, by this code; `message` where the peer refused. */
  takeReset(code: string, message: string): void;
  /** There may be room to write again. */
  takeRoom(): void;
}

export class Channel {
  readonly id: number;
  readonly ours: boolean;
  readonly flow: Flow;
  readonly target: string;
  readonly out: OutFlow;
  readonly in: InFlow;
  phase: Phase;
  user: ChannelUser | undefined;
  dueOpen = false;
  dueOpened = false;
  dueCredit = false;
  /** It stands in the writer's queue. */
  queued = false;
  /** Datagrams that wait to be sent. */
  readonly datagrams: Buffer[] = [];
  datagramBytes = 0;

  constructor(of: {
    readonly id: number;
    readonly ours: boolean;
    readonly flow: Flow;
    readonly target: string;
    readonly out: OutFlow;
    readonly in: InFlow;
  }) {
    this.id = of.id;
    this.ours = of.ours;
    this.flow = of.flow;
    this.target = of.target;
    this.out = of.out;
    this.in = of.in;
    this.phase = of.ours ? 'opening' : 'offered';
    this.dueOpen = of.ours;
  }

  /** Both directions have ended and the peer has all of ours. */
  get complete(): boolean {
    return this.in.ended && this.out.settled;
  }

  /** Something of it waits to be sent. */
  get hasFrames(): boolean {
    if (this.phase === 'over' || this.phase === 'offered') return false;
    if (this.dueOpen || this.dueOpened || this.dueCredit || this.datagrams.length > 0) return true;
    return this.phase === 'open' && (this.out.sendable > 0 || this.out.endDue);
  }

  /** What to tell a peer that resumes. PROTOCOL.md §7 */
  get resumePoint(): ResumePoint {
    const opened = this.phase === 'open' ? STATE.opened : 0;
    const ended = this.in.ended ? STATE.ended : 0;
    return [this.id, this.in.received, this.in.limit, opened + ended];
  }

  dropDatagrams(): void {
    this.datagrams.length = 0;
    this.datagramBytes = 0;
  }
}
