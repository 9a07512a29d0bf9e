/**
 * What the tunnel asks of a websocket, at either end, and nothing of how it is made. The handshake uses it first,
 * then the link. PROTOCOL.md §1.
 */

/** Longest text and longest binary message, in bytes (PROTOCOL.md §1): an arena's size. */
export const MESSAGE_LIMIT_BYTES = 256 * 1024;

/** Why a websocket is closed (PROTOCOL.md §1; 1000 and 1001 by RFC 6455 §7.4.1). */
export const CLOSE = {
  done: 1000,
  leaving: 1001,
  violation: 4400,
  refused: 4401,
  silent: 4408,
  replaced: 4409,
} as const;

export interface CarrierListener {
  text(message: string): void;
  /** The buffer is the listener's during the call only. */
  binary(message: Buffer): void;
  /** All that was given to the carrier is with the kernel. */
  drained(): void;
  /** Once, last. `reason` is what the other end said, shortened to a code, or ''. */
  closed(code: number, reason: string): void;
}

/** One websocket. Until something listens nothing is lost: messages wait. */
export interface Carrier {
  sendText(message: string): void;
  /**
   * Sends `message`, the carrier's until `done`, which is called once, later: the bytes are with the kernel. It is not
   * called when the carrier ends first, so that nobody sends on into a closed one.
   */
  sendBinary(message: Buffer, done: () => void): void;
  /** Bytes given to the carrier that the kernel has not taken. */
  readonly unsentBytes: number;
  /** Bytes received from the network so far, of half-received messages too. */
  readonly receivedBytes: number;
  /** Replaces the listener. Without one (`undefined`) nothing is read from the network. */
  listen(listener: CarrierListener | undefined): void;
  /** Sends a close frame behind what was sent and ends the socket within half a second. Idempotent. */
  close(code: number, reason: string): void;
  /** Ends the socket at once. Idempotent. */
  terminate(): void;
}

/** Returns `reason` if it has the form of a code (PROTOCOL.md §1), else ''. */
export function codeFromReason(reason: string): string {
  return /^[A-Z0-9_]{1,64}$/.test(reason) ? reason : '';
}
