/**
 * The keys of a session and the transcript that both ends sign. PROTOCOL.md §2; Ed25519 by RFC 8032.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  timingSafeEqual,
  verify,
  type KeyObject,
} from 'node:crypto';
import { text, type Shape } from '../base/shape.js';

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** PKCS #8 head of an Ed25519 seed (RFC 8410 §7). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Which end signs: a proof of one end is none of the other. */
export type Signer = 'laptop' | 'manager';

/** An Ed25519 key pair; the secret half stays inside. */
export interface SessionKey {
  /** Base64 of 32 bytes, as it stands in a Session's spec or status. */
  readonly publicKey: string;
  /** Returns the base64 of the signature over the transcript as this signer. */
  sign(transcript: Buffer, signer: Signer): string;
}

/** What both ends know of one handshake. The messages are the exact texts sent. */
export interface Transcript {
  readonly version: number;
  readonly sessionUid: string;
  readonly mode: string;
  readonly laptopKey: string;
  readonly managerKey: string;
  readonly laptopNonce: string;
  readonly managerNonce: string;
  readonly laptopHello: string;
  readonly managerHello: string;
}

/** Base64 of exactly 32 bytes. */
export const key32: Shape<string> = text(44, /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/);
/** Base64 of exactly 64 bytes. */
export const signature64: Shape<string> = text(88, /^[A-Za-z0-9+/]{85}[AQgw]==$/);

/** Returns a new key pair. */
export function createKeyPair(): SessionKey {
  return sessionKey(generateKeyPairSync('ed25519').privateKey);
}

/** Returns the key pair of a 32-byte seed (RFC 8032 §5.1.5). */
export function keyPairFromSeed(seed: Buffer): SessionKey {
  const der = Buffer.concat([PKCS8_HEAD, seed]);
  return sessionKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
}

/** Returns 32 random bytes in base64. */
export function createNonce(): string {
  return randomBytes(KEY_BYTES).toString('base64');
}

/** Returns the bytes that are signed, but for the signer's name. */
export function encodeTranscript(of: Transcript): Buffer {
  return Buffer.concat([
    field('cz session transcript'),
    field(String(of.version)),
    field(of.sessionUid),
    field(of.mode),
    field(Buffer.from(of.laptopKey, 'base64')),
    field(Buffer.from(of.managerKey, 'base64')),
    field(Buffer.from(of.laptopNonce, 'base64')),
    field(Buffer.from(of.managerNonce, 'base64')),
    field(of.laptopHello),
    field(of.managerHello),
  ]);
}

/** Returns whether `signature` is this signer's over the transcript, by the key. */
export function verifyProof(
  transcript: Buffer,
  signer: Signer,
  publicKey: string,
  signature: string,
): boolean {
  const bytes = Buffer.from(signature, 'base64');
  if (bytes.length !== SIGNATURE_BYTES) return false;
  const jwk = {
    kty: 'OKP',
    crv: 'Ed25519',
    x: Buffer.from(publicKey, 'base64').toString('base64url'),
  };
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    return verify(null, Buffer.concat([transcript, field(signer)]), key, bytes);
  } catch {
    return false; // not a point of the curve
  }
}

/** Returns whether two keys are the same, in a time that does not tell where they differ. */
export function sameKey(a: string, b: string): boolean {
  const [left, right] = [a, b].map((value) => createHash('sha256').update(value).digest());
  return left !== undefined && right !== undefined && timingSafeEqual(left, right);
}

function sessionKey(secret: KeyObject): SessionKey {
  const { x = '' } = createPublicKey(secret).export({ format: 'jwk' });
  return {
    publicKey: Buffer.from(x, 'base64url').toString('base64'),
    sign: (transcript, signer) =>
      sign(null, Buffer.concat([transcript, field(signer)]), secret).toString('base64'),
  };
}

function field(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
