/**
 * The transport between command line and daemon: JSON objects, one a line, over a unix socket. Requests carry an
 * id; events, result and error carry the same. `cancel` ends a call of the sender's own. Pure.
 */
import { CzError, codeOf, messageOf } from '../base/errors.js';
import { integer, object, text, type Shape } from '../base/shape.js';

/** Longest line, in bytes (our choice: Linux limits an environment to a quarter of the stack, 2 MiB by default). */
const LINE_LIMIT_BYTES = 8 * 1024 * 1024;

export interface RequestMessage {
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
}

export interface CancelMessage {
  readonly id: number;
  readonly cancel: true;
}

/** What an error is on the wire. */
export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

export type ReplyMessage =
  | { readonly id: number; readonly event: unknown }
  | { readonly id: number; readonly result: unknown }
  /** Without an id: the connection as a whole is refused. */
  | { readonly id?: number; readonly error: WireError };

const anything: Shape<unknown> = (value) => value;
const id = integer(1);
const request = object({ id, method: text(64), params: anything });
const cancel = object({ id });
const wireError: Shape<WireError> = object({ code: text(64), message: text(20_000) }, { hint: text(20_000) });
const failure = object({ error: wireError }, { id });
const event = object({ id, event: anything });
const result = object({ id, result: anything });

/** Returns the line, with its newline. */
export function encodeLine(message: RequestMessage | CancelMessage | ReplyMessage): string {
  return `${JSON.stringify(message)}\n`;
}

/** Returns what a command line said. @throws MALFORMED */
export function decodeRequest(line: string): RequestMessage | CancelMessage {
  const value = parse(line);
  if ('cancel' in value) return { ...cancel(value), cancel: true };
  return request(value);
}

/** Returns what a daemon said. @throws MALFORMED */
export function decodeReply(line: string): ReplyMessage {
  const value = parse(line);
  if ('error' in value) return failure(value);
  return 'event' in value ? event(value) : result(value);
}

/** Returns the error as it goes over the wire: no stack, no cause. */
export function toWire(error: unknown): WireError {
  const hint = error instanceof CzError ? error.hint : undefined;
  const message = messageOf(error).slice(0, 20_000);
  return { code: codeOf(error) ?? 'FAILED', message, ...(hint === undefined ? {} : { hint }) };
}

/** Returns the error that was meant. */
export function fromWire({ code, message, hint }: WireError): CzError {
  return new CzError(code, message, hint === undefined ? {} : { hint });
}

function parse(line: string): object {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value;
  } catch (cause) {
    throw new CzError('MALFORMED', 'a line that is no JSON', { cause });
  }
  throw new CzError('MALFORMED', 'a line that is no object');
}

/**
 * Returns a function that takes bytes as they come and calls `onLine` with each whole line, without its newline.
 * It keeps at most one unfinished line. @throws MALFORMED a line longer than the limit
 */
export function createLineReader(
  onLine: (line: string) => void,
  limitBytes = LINE_LIMIT_BYTES,
): (chunk: Buffer) => void {
  let parts: Buffer[] = [];
  let size = 0;
  const keep = (part: Buffer) => {
    size += part.length;
    if (size > limitBytes) throw new CzError('MALFORMED', `a line longer than ${limitBytes} bytes`);
    parts.push(part);
  };
  return (chunk) => {
    let from = 0;
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
      keep(chunk.subarray(from, at));
      const line = Buffer.concat(parts).toString();
      [parts, size, from] = [[], 0, at + 1];
      if (line !== '') onLine(line);
    }
    if (from < chunk.length) keep(Buffer.from(chunk.subarray(from)));
  };
}
