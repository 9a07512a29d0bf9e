/**
 * The handshake, both halves: who is at the other end, proved by signatures over one transcript, before the link gets
 * the carrier. PROTOCOL.md §2. When it has succeeded the carrier listens to nobody: what follows waits for the link.
 */
import { CzError, messageOf } from '../base/errors.js';
import { integer, object, oneOf, text, type Shape } from '../base/shape.js';
import { CLOSE, MESSAGE_LIMIT_BYTES, codeFromReason, type Carrier } from './carrier.js';
import {
  PROTOCOL_VERSION,
  laptopHello,
  welcome as welcomeShape,
  type LaptopHello,
  type Welcome,
} from './hello.js';
import { openTextReader, type TextReader } from './text-reader.js';
import {
  createNonce,
  encodeTranscript,
  key32,
  sameKey,
  signature64,
  verifyProof,
  type SessionKey,
} from './transcript.js';

export {
  PROTOCOL_VERSION,
  parseNetworks,
  type ClusterNetworks,
  type LaptopHello,
  type Welcome,
} from './hello.js';
export { createKeyPair, type SessionKey } from './transcript.js';

/** Longest message of a handshake but `welcome` (PROTOCOL.md §2). */
const HANDSHAKE_LIMIT_BYTES = 128 * 1024;
/** Longest reason of a refusal (our choice: a sentence). */
const REFUSAL_MESSAGE_MAX = 500;

/** What a user can do about two ends that do not understand each other. */
const VERSION_HINT = 'bring the manager to this cz’s version with cz install, or get the cz of the manager’s';

export type Mode = 'open' | 'resume';

const fromLaptop = {
  hello: object({
    type: oneOf('hello'),
    mode: oneOf('open', 'resume'),
    session: text(64, /^[A-Za-z0-9-]{1,64}$/),
    publicKey: key32,
    nonce: key32,
    hello: laptopHello,
  }),
  proof: object({ type: oneOf('proof'), signature: signature64 }),
};

const refusedMessage = object({ code: text(64, /^[A-Z0-9_]+$/), message: text(REFUSAL_MESSAGE_MAX) });
const fromManager = {
  manager: object({
    type: oneOf('manager'),
    version: integer(1, 65_535),
    publicKey: key32,
    nonce: key32,
  }),
  proof: object({ type: oneOf('proof'), signature: signature64 }),
  welcome: object({ type: oneOf('welcome'), welcome: welcomeShape }),
};

export interface OpenSessionOptions {
  readonly sessionUid: string;
  readonly key: SessionKey;
  readonly hello: LaptopHello;
  readonly mode: Mode;
  /** Returns the manager's public key out of the Session's status. */
  managerKey(): Promise<string>;
  readonly timeoutMs: number;
}

/**
 * The laptop's half: proves itself to the manager after the manager has proved itself. Returns what it is welcomed with.
 * On failure the carrier is closed.
 * @throws KEY_MISMATCH, BAD_SIGNATURE the other end is not the Session's manager · the manager's refusal by its code ·
 * VERSION_MISMATCH, MALFORMED, TIMED_OUT, LOST
 */
export function openSession(carrier: Carrier, options: OpenSessionOptions): Promise<Welcome> {
  return conduct(carrier, options.timeoutMs, CLOSE.refused, (reader) => laptopHalf(carrier, reader, options));
}

async function laptopHalf(
  carrier: Carrier,
  reader: TextReader,
  options: OpenSessionOptions,
): Promise<Welcome> {
  const { sessionUid, key, mode, hello } = options;
  const laptopNonce = createNonce();
  const helloText = JSON.stringify({
    type: 'hello',
    mode,
    session: sessionUid,
    publicKey: key.publicKey,
    nonce: laptopNonce,
    hello,
  });
  carrier.sendText(helloText);
  const expected = await Promise.race([options.managerKey(), reader.failed]);
  const managerText = await reader.next(HANDSHAKE_LIMIT_BYTES);
  const manager = answer(fromManager.manager, managerText);
  if (!hello.versions.includes(manager.version) || manager.version !== PROTOCOL_VERSION)
    throw new CzError('VERSION_MISMATCH', `the manager speaks version ${manager.version} of the protocol`, {
      hint: VERSION_HINT,
    });
  if (!sameKey(manager.publicKey, expected))
    throw new CzError('KEY_MISMATCH', "the other end's key is not the one in the Session's status");
  const transcript = encodeTranscript({
    version: manager.version,
    sessionUid,
    mode,
    laptopKey: key.publicKey,
    managerKey: expected,
    laptopNonce,
    managerNonce: manager.nonce,
    laptopHello: helloText,
    managerHello: managerText,
  });
  const proof = answer(fromManager.proof, await reader.next(HANDSHAKE_LIMIT_BYTES));
  if (!verifyProof(transcript, 'manager', expected, proof.signature))
    throw new CzError('BAD_SIGNATURE', "the other end does not hold the manager's key");
  carrier.sendText(JSON.stringify({ type: 'proof', signature: key.sign(transcript, 'laptop') }));
  return answer(fromManager.welcome, await reader.next(MESSAGE_LIMIT_BYTES)).welcome;
}

export interface AcceptSessionOptions {
  readonly key: SessionKey;
  /** Returns the Session of this UID, undefined if there is none. */
  lookup(sessionUid: string): Promise<{ readonly publicKey: string } | undefined>;
  /** Called once the laptop has proved itself: the first moment to allocate anything. A CzError refuses with its code. */
  welcome(hello: LaptopHello, sessionUid: string, mode: Mode): Promise<Welcome>;
  readonly timeoutMs: number;
}

export interface AcceptedSession {
  readonly sessionUid: string;
  readonly hello: LaptopHello;
  readonly mode: Mode;
  readonly welcome: Welcome;
}

/**
 * The manager's half: proves itself, then has the laptop prove that it holds the Session's key, then welcomes it. On
 * failure the laptop is told the code and the carrier is closed.
 * @throws UNKNOWN_SESSION, KEY_MISMATCH, BAD_SIGNATURE, VERSION_MISMATCH, MALFORMED, TIMED_OUT, LOST · what `welcome` throws
 */
export function acceptSession(carrier: Carrier, options: AcceptSessionOptions): Promise<AcceptedSession> {
  return conduct(carrier, options.timeoutMs, 'tell', (reader) => managerHalf(carrier, reader, options));
}

async function managerHalf(
  carrier: Carrier,
  reader: TextReader,
  options: AcceptSessionOptions,
): Promise<AcceptedSession> {
  const helloText = await reader.next(HANDSHAKE_LIMIT_BYTES);
  const first = fromLaptop.hello(parseJson(helloText));
  if (!first.hello.versions.includes(PROTOCOL_VERSION))
    throw new CzError('VERSION_MISMATCH', `this manager speaks version ${PROTOCOL_VERSION} of the protocol`);
  const session = await Promise.race([options.lookup(first.session), reader.failed]);
  if (session === undefined) throw new CzError('UNKNOWN_SESSION', `no session "${first.session}"`);
  if (!sameKey(first.publicKey, session.publicKey))
    throw new CzError('KEY_MISMATCH', "the key is not the one in the Session's spec");
  const managerNonce = createNonce();
  const managerText = managerHello(options.key, managerNonce);
  const transcript = encodeTranscript({
    version: PROTOCOL_VERSION,
    sessionUid: first.session,
    mode: first.mode,
    laptopKey: session.publicKey,
    managerKey: options.key.publicKey,
    laptopNonce: first.nonce,
    managerNonce,
    laptopHello: helloText,
    managerHello: managerText,
  });
  carrier.sendText(managerText);
  carrier.sendText(JSON.stringify({ type: 'proof', signature: options.key.sign(transcript, 'manager') }));
  const proof = fromLaptop.proof(parseJson(await reader.next(HANDSHAKE_LIMIT_BYTES)));
  if (!verifyProof(transcript, 'laptop', session.publicKey, proof.signature))
    throw new CzError('BAD_SIGNATURE', "the other end does not hold the Session's key");
  const welcome = await options.welcome(first.hello, first.session, first.mode);
  reader.check(); // gone or late meanwhile
  carrier.sendText(JSON.stringify({ type: 'welcome', welcome }));
  return { sessionUid: first.session, hello: first.hello, mode: first.mode, welcome };
}

function managerHello(key: SessionKey, nonce: string): string {
  const { publicKey } = key;
  return JSON.stringify({ type: 'manager', version: PROTOCOL_VERSION, publicKey, nonce });
}

async function conduct<T>(
  carrier: Carrier,
  timeoutMs: number,
  failure: typeof CLOSE.refused | 'tell',
  half: (reader: TextReader) => Promise<T>,
): Promise<T> {
  const reader = openTextReader(carrier, timeoutMs);
  try {
    return await half(reader);
  } catch (error) {
    const code = error instanceof CzError ? codeFromReason(error.code) : '';
    if (failure === 'tell') carrier.sendText(refusal(code, error));
    carrier.close(CLOSE.refused, code);
    throw error;
  } finally {
    reader.close();
  }
}

function refusal(code: string, error: unknown): string {
  const said = error instanceof CzError ? messageOf(error) : 'the manager failed; its log says why';
  const message = said.replaceAll('\0', ' ').slice(0, REFUSAL_MESSAGE_MAX);
  return JSON.stringify({ type: 'refused', code: code === '' ? 'FAILED' : code, message });
}

/** Returns the manager's message. @throws its code where it is a refusal instead */
function answer<T>(shape: Shape<T>, message: string): T {
  const value = parseJson(message);
  if (typeof value === 'object' && value !== null && 'type' in value && value.type === 'refused') {
    const { code, message: why } = refusedMessage(value);
    const hint = code === 'VERSION_MISMATCH' ? { hint: VERSION_HINT } : {};
    throw new CzError(code, `the manager refused: ${why}`, hint);
  }
  return shape(value);
}

function parseJson(message: string): unknown {
  try {
    return JSON.parse(message);
  } catch (cause) {
    throw new CzError('MALFORMED', 'a message of the handshake is no JSON', { cause });
  }
}
