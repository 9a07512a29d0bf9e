/**
 * The command line's end of the control socket. Errors of the daemon come back as CzError with its code and hint.
 */
import { connect, type Socket } from 'node:net';
import { CzError, codeOf, messageOf } from '../base/errors.js';
import { createLineReader, decodeReply, encodeLine, fromWire, type ReplyMessage } from './protocol.js';
import {
  PARAMS,
  PROGRESS,
  RESULTS,
  type MethodName,
  type ParamsOf,
  type ProgressEvent,
  type ResultOf,
} from './schema.js';

/** A daemon that is alive answers a connect at once; one that is stopped does not (our choice). */
const DIAL_TIMEOUT_MS = 5000;

interface CallOptions {
  readonly onEvent?: (event: ProgressEvent) => void;
  /** Aborting cancels the call at the daemon too. */
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

export interface ControlClient {
  /** Calls a method. @throws the daemon's error · DAEMON_GONE · INTERRUPTED · TIMED_OUT */
  call<M extends MethodName>(method: M, params: ParamsOf<M>, options?: CallOptions): Promise<ResultOf<M>>;
  /** Resolves when the connection has ended, by either side. */
  readonly closed: Promise<void>;
  /** Idempotent; calls in flight fail with DAEMON_GONE. */
  close(): void;
}

interface PendingCall {
  event(event: unknown): void;
  result(result: unknown): void;
  fail(error: unknown): void;
}

/** Connects to the daemon. @throws NOT_CONNECTED no daemon · DAEMON_SILENT */
export async function openControlClient(path: string): Promise<ControlClient> {
  const socket = await dial(path);
  const calls = new Map<number, PendingCall>();
  let lastId = 0;
  let refused: CzError | undefined;
  const endAll = (error: CzError) => {
    for (const call of calls.values()) call.fail(error);
  };
  const take = (reply: ReplyMessage) => {
    if (reply.id === undefined) {
      refused = 'error' in reply ? fromWire(reply.error) : undefined;
      return;
    }
    const call = calls.get(reply.id);
    if ('event' in reply) call?.event(reply.event);
    else if ('result' in reply) call?.result(reply.result);
    else if ('error' in reply) call?.fail(fromWire(reply.error));
  };
  const read = createLineReader((line) => take(decodeReply(line)));
  socket.on('data', (chunk: Buffer) => {
    try {
      read(chunk);
    } catch (error) {
      refused = new CzError('DAEMON_GONE', `the daemon's answer is malformed: ${messageOf(error)}`);
      socket.destroy();
    }
  });
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      endAll(refused ?? gone());
      resolve();
    });
  });
  return {
    closed,
    call(method, params, options = {}) {
      lastId += 1;
      return startCall(socket, calls, lastId, method, params, options);
    },
    close: () => socket.destroy(),
  };
}

async function startCall<M extends MethodName>(
  socket: Socket,
  calls: Map<number, PendingCall>,
  id: number,
  method: M,
  params: ParamsOf<M>,
  { onEvent, signal, timeoutMs }: CallOptions,
): Promise<ResultOf<M>> {
  const checked = PARAMS[method](params, 'params');
  if (signal?.aborted === true) throw interrupted(method);
  if (!socket.writable) throw gone();
  let giveUp: ((error: CzError) => void) | undefined;
  const onAbort = () => giveUp?.(interrupted(method));
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => giveUp?.(tooLate(method)), timeoutMs);
  signal?.addEventListener('abort', onAbort);
  try {
    const result = await new Promise<unknown>((resolve, reject) => {
      giveUp = (error) => {
        if (socket.writable) socket.write(encodeLine({ id, cancel: true }));
        reject(error);
      };
      calls.set(id, { event: (event) => onEvent?.(PROGRESS(event, 'event')), result: resolve, fail: reject });
      socket.write(encodeLine({ id, method, params: checked }));
    });
    return RESULTS[method](result, 'result');
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    calls.delete(id);
  }
}

function dial(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new CzError('DAEMON_SILENT', 'the daemon does not answer', { hint: 'sudo cz doctor --fix' }));
    }, DIAL_TIMEOUT_MS);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.on('error', () => undefined); // `close` follows and ends the calls
      resolve(socket);
    });
    socket.once('error', (cause) => {
      clearTimeout(timer);
      reject(dialFailure(cause));
    });
  });
}

function dialFailure(cause: Error): CzError {
  const code = codeOf(cause);
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR')
    return new CzError('NOT_CONNECTED', 'not connected', { hint: 'sudo cz connect', cause });
  return new CzError('DAEMON_SILENT', `reaching the daemon: ${cause.message}`, { cause });
}

function gone(): CzError {
  return new CzError('DAEMON_GONE', 'the daemon ended before it answered', {
    hint: 'look at its log: cz logs',
  });
}

function interrupted(method: string): CzError {
  return new CzError('INTERRUPTED', `${method} was interrupted`);
}

function tooLate(method: string): CzError {
  return new CzError('TIMED_OUT', `the daemon did not answer "${method}" in time`, {
    hint: 'sudo cz doctor --fix',
  });
}
