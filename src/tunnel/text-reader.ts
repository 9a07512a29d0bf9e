/**
 * Reads a carrier's text messages one by one, against a deadline, for as long as the handshake lasts. Binary
 * messages, and more texts than the handshake has, are violations.
 */
import { CzError } from '../base/errors.js';
import type { Carrier } from './carrier.js';

/** Texts that may wait unread (the handshake's longest run is two: the manager's hello and its proof). */
const WAITING_MAX = 4;

export interface TextReader {
  /** Returns the next text. @throws MALFORMED longer than `limitBytes`, or binary · TIMED_OUT · LOST */
  next(limitBytes: number): Promise<string>;
  /** Rejects with what ended the reading; never resolves. */
  readonly failed: Promise<never>;
  /** @throws what ended the reading, if anything did */
  check(): void;
  /** Stops listening; what comes later waits in the carrier for its next listener. */
  close(): void;
}

/** Listens on the carrier until `close`. */
export function openTextReader(carrier: Carrier, timeoutMs: number): TextReader {
  const waiting: string[] = [];
  let failure: CzError | undefined;
  let wake: (() => void) | undefined;
  let reject: (error: CzError) => void = () => undefined;
  const failed = new Promise<never>((_resolve, rejectNow) => {
    reject = rejectNow;
  });
  failed.catch(() => undefined);
  const fail = (code: string, message: string) => {
    failure ??= new CzError(code, message);
    reject(failure);
    wake?.();
  };
  const timer = setTimeout(() => fail('TIMED_OUT', `no handshake within ${timeoutMs} ms`), timeoutMs);
  carrier.listen({
    text(message) {
      waiting.push(message);
      if (waiting.length > WAITING_MAX) fail('MALFORMED', 'more messages than a handshake has');
      wake?.();
    },
    binary: () => fail('MALFORMED', 'a binary message within the handshake'),
    drained: () => undefined,
    closed: (code, reason) =>
      fail(reason === '' ? 'LOST' : reason, `the other end closed the websocket (${code} ${reason})`),
  });
  const check = () => {
    if (failure !== undefined) throw failure;
  };
  return {
    async next(limitBytes) {
      while (waiting.length === 0) {
        check();
        await new Promise<void>((resolve) => (wake = resolve));
      }
      const message = waiting.shift() ?? '';
      if (Buffer.byteLength(message) > limitBytes)
        throw new CzError('MALFORMED', 'a message of the handshake is too long');
      return message;
    },
    failed,
    check,
    close() {
      clearTimeout(timer);
      carrier.listen(undefined);
    },
  };
}
