/**
 * Control messages: requests with replies, and events, as JSON texts, the ends being equals. PROTOCOL.md §3.
 */
import { CzError, messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { integer, json, object, text, type Json, type Shape } from '../base/shape.js';
import { MESSAGE_LIMIT_BYTES } from './carrier.js';

/** Requests that may wait for a reply, each way (PROTOCOL.md §3). */
const REQUESTS_MAX = 256;
/** How long a request waits where the caller does not say (our choice: an API call at the other end fits). */
const REQUEST_TIMEOUT_MS = 10_000;
/** Longest message of an error reply (our choice). */
const ERROR_MESSAGE_MAX = 1000;

const name = text(64, /^[a-z][a-zA-Z0-9-]*$/);
const id = integer(0);
const any: Shape<Json | undefined> = (value, at) => (value === undefined ? undefined : json(value, at));

const request = object({ id, method: name, params: any });
const failure = object({ code: text(64, /^[A-Z0-9_]+$/), message: text(ERROR_MESSAGE_MAX) });
const reply = object({ id, result: any }, { error: failure });
const event = object({ name, params: any });
const message = object({}, { request, reply, event });

export type Handler = (params: unknown) => Promise<unknown>;
export type EventListener = (params: unknown) => void;

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: CzError) => void;
  readonly timer: NodeJS.Timeout;
}

export class Control {
  readonly #log: Log;
  readonly #handlers = new Map<string, Handler>();
  readonly #listeners = new Map<string, EventListener[]>();
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #answering = 0;
  #send: ((text: string) => void) | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  attach(send: (text: string) => void): void {
    this.#send = send;
  }

  /** Rejects all that wait for a reply. */
  detach(): void {
    this.#send = undefined;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(lost());
    }
    this.#waiting.clear();
  }

  handle(method: string, handler: Handler): void {
    this.#handlers.set(method, handler);
  }

  on(event: string, listener: EventListener): void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  request(method: string, params: unknown, timeoutMs = REQUEST_TIMEOUT_MS): Promise<unknown> {
    const send = this.#send;
    if (send === undefined) return Promise.reject(lost());
    if (this.#waiting.size >= REQUESTS_MAX)
      return Promise.reject(new CzError('BUSY', `more than ${REQUESTS_MAX} requests wait for a reply`));
    const requestId = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(requestId);
        reject(new CzError('TIMED_OUT', `no reply to "${method}" within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiting.set(requestId, { resolve, reject, timer });
      this.#write(send, { request: { id: requestId, method, params } });
    });
  }

  notify(name: string, params: unknown): void {
    if (this.#send !== undefined) this.#write(this.#send, { event: { name, params } });
  }

  /** Takes a text message. @throws MALFORMED */
  take(text: string): void {
    const said = message(parse(text));
    if (said.request !== undefined) void this.#answer(said.request);
    if (said.reply !== undefined) this.#settle(said.reply);
    if (said.event !== undefined) this.#tell(said.event.name, said.event.params);
  }

  async #answer(asked: {
    readonly id: number;
    readonly method: string;
    readonly params: unknown;
  }): Promise<void> {
    const send = this.#send;
    const answer = await this.#run(asked.method, asked.params);
    if (send === undefined || send !== this.#send) return; // asked on a websocket that is gone
    try {
      this.#write(send, { reply: { id: asked.id, ...answer } });
    } catch (error) {
      this.#write(send, { reply: { id: asked.id, ...asError(error) } });
    }
  }

  async #run(method: string, params: unknown): Promise<object> {
    const handler = this.#handlers.get(method);
    if (handler === undefined) return asError(new CzError('NOT_FOUND', `no method "${method}"`));
    if (this.#answering >= REQUESTS_MAX) return asError(new CzError('BUSY', 'too many requests at once'));
    this.#answering += 1;
    try {
      return { result: (await handler(params)) ?? null };
    } catch (error) {
      if (!(error instanceof CzError)) this.#log.error('a request failed', { method, error });
      return asError(error);
    } finally {
      this.#answering -= 1;
    }
  }

  #settle(answer: {
    readonly id: number;
    readonly result: unknown;
    readonly error?: { readonly code: string; readonly message: string };
  }): void {
    const waiting = this.#waiting.get(answer.id);
    if (waiting === undefined) return;
    this.#waiting.delete(answer.id);
    clearTimeout(waiting.timer);
    if (answer.error === undefined) waiting.resolve(answer.result);
    else waiting.reject(new CzError(answer.error.code, answer.error.message));
  }

  #tell(name: string, params: unknown): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(params);
      } catch (error) {
        this.#log.warn('an event was not understood', { event: name, cause: messageOf(error) });
      }
    }
  }

  /** @throws TOO_LONG for what does not fit into one message: the caller's mistake */
  #write(send: (text: string) => void, value: object): void {
    const text = JSON.stringify(value);
    if (Buffer.byteLength(text) > MESSAGE_LIMIT_BYTES)
      throw new CzError('TOO_LONG', 'a control message is longer than 256 KiB');
    send(text);
  }
}

function asError(error: unknown): object {
  const known = error instanceof CzError;
  const code = known && /^[A-Z0-9_]{1,64}$/.test(error.code) ? error.code : 'FAILED';
  const message = known
    ? error.message.replaceAll('\0', ' ').slice(0, ERROR_MESSAGE_MAX)
    : 'it failed; the log says why';
  return { error: { code, message } };
}

function lost(): CzError {
  return new CzError('LOST', 'the websocket is lost');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CzError('MALFORMED', 'a control message is no JSON', { cause });
  }
}
