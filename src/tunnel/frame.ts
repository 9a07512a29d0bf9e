/**
 * The vocabulary of binary messages: kinds, mux frames, and their limits. PROTOCOL.md §4 – §6. No bytes here: those are
 * encode.ts and decode.ts.
 */

/** First byte of a binary message (PROTOCOL.md §4). */
export const KIND = { packets: 1, mux: 2, ack: 3, ping: 4, pong: 5 } as const;

/** Type byte of a mux frame (PROTOCOL.md §6). */
export const FRAME = {
  open: 1,
  opened: 2,
  refused: 3,
  data: 4,
  credit: 5,
  end: 6,
  reset: 7,
  datagram: 8,
} as const;

/** Streams and flows open at once per opener (PROTOCOL.md §6). */
export const STREAMS_MAX = 1024;
/** The highest stream id, a u32. */
export const ID_MAX = 2 ** 32 - 1;
/** The highest offset, a u48: 281 TB, more than a stream lives to carry. */
export const OFFSET_MAX = 2 ** 48 - 1;
/** Longest target of an open, in bytes (PROTOCOL.md §6). */
export const TARGET_MAX_BYTES = 4096;
/** Longest message of a refusal, in bytes (PROTOCOL.md §6). */
export const REFUSAL_MAX_BYTES = 512;
/** Longest code of a refusal or reset, in bytes (PROTOCOL.md §1). */
export const CODE_MAX_BYTES = 64;
/** Most bytes of one data frame (PROTOCOL.md §6). */
export const DATA_MAX_BYTES = 65_536;
/** Longest datagram: what fits into an IPv4 packet beside IP's and UDP's headers (RFC 768). */
export const DATAGRAM_MAX_BYTES = 65_507;

export type Flow = 'stream' | 'datagrams';

export type Frame =
  | {
      readonly type: 'open';
      readonly id: number;
      readonly flow: Flow;
      readonly limit: number;
      readonly target: string;
    }
  | { readonly type: 'opened'; readonly id: number; readonly limit: number }
  | { readonly type: 'refused'; readonly id: number; readonly code: string; readonly message: string }
  | { readonly type: 'data'; readonly id: number; readonly offset: number; readonly bytes: Buffer }
  | { readonly type: 'credit'; readonly id: number; readonly limit: number }
  | { readonly type: 'end'; readonly id: number; readonly offset: number }
  | { readonly type: 'reset'; readonly id: number; readonly code: string }
  | { readonly type: 'datagram'; readonly id: number; readonly bytes: Buffer };
