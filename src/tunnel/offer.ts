/**
 * Opening a stream or flow, seen from both ends: what the peer is offered, and who waits for the answer. PROTOCOL.md §6.
 */
import type { Duplex } from 'node:stream';
import { CzError, messageOf } from '../base/errors.js';
import { json, type Json } from '../base/shape.js';
import type { ChannelUser } from './channel.js';
import type { DatagramFlow } from './datagrams.js';

/** A stream or flow that the peer opens: accept or refuse it, once, when the target is known to answer. */
export type Offer = { readonly target: Json; refuse(code: string, message: string): void } & (
  { readonly flow: 'stream'; accept(): Duplex } | { readonly flow: 'datagrams'; accept(): DatagramFlow }
);

/** Returns the user of a stream that waits for its answer. */
export function waitingUser(opened: () => void, failed: (error: CzError) => void): ChannelUser {
  return {
    opened,
    takeReset: (code, message) =>
      failed(new CzError(code, message === '' ? 'the stream was not opened' : message)),
    takeBytes: () => undefined,
    takeEnd: () => undefined,
    takeRoom: () => undefined,
  };
}

/** Returns the target of an open. @throws MALFORMED */
export function parseTarget(text: string): Json {
  try {
    return json(JSON.parse(text), 'target');
  } catch (cause) {
    throw new CzError('MALFORMED', `a target that is no JSON: ${messageOf(cause)}`, { cause });
  }
}

/** Returns the text cut to so many bytes, at a character. */
export function truncate(text: string, most: number): string {
  let cut = text.slice(0, most);
  while (Buffer.byteLength(cut) > most) cut = cut.slice(0, -1);
  return cut;
}
