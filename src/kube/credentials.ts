/**
 * What proves to the API server who is asking: headers and, for TLS, a certificate with its key. Token files are read
 * again, plugins asked again, before what they gave runs out.
 */
import { X509Certificate } from 'node:crypto';
import { CzError } from '../base/errors.js';

/** A certificate chain and its key, PEM. The same object as long as they are the same. */
export interface TlsIdentity {
  readonly cert: string;
  readonly key: string;
}

/** Headers of a request; one that occurs several times (Impersonate-Group) has a list. */
export type RequestHeaders = Readonly<Record<string, string | string[]>>;

/** What goes with one request. */
export interface Credential {
  readonly headers: RequestHeaders;
  readonly identity: TlsIdentity | undefined;
}

export interface Credentials {
  /** Returns what to send now. @throws PLUGIN_FAILED, KUBECONFIG_UNREADABLE, CREDENTIAL_EXPIRED */
  current(): Promise<Credential>;
  /** Returns whether there is something newer than `rejected`, which the API server has answered with 401. */
  renew(rejected: Credential): Promise<boolean>;
}

/** Token files are read again after this (client-go's figure, transport/token_source.go: one minute). */
const TOKEN_FILE_MS = 60_000;

/** Returns credentials that never change. */
export function fixedCredentials(credential: Credential): Credentials {
  return { current: () => Promise.resolve(credential), renew: () => Promise.resolve(false) };
}

/** Returns credentials with a token that `read` finds in a file; read again once a minute and after a 401. */
export function tokenFileCredentials(
  read: () => Promise<string>,
  identity: TlsIdentity | undefined,
  now: () => number = Date.now,
): Credentials {
  let held: { readonly credential: Credential; readonly at: number } | undefined;
  const load = async () => {
    const credential = { headers: bearer((await read()).trim()), identity };
    held = { credential, at: now() };
    return credential;
  };
  return {
    current: async () => (held !== undefined && now() - held.at < TOKEN_FILE_MS ? held.credential : load()),
    renew: async (rejected) => JSON.stringify((await load()).headers) !== JSON.stringify(rejected.headers),
  };
}

/** Returns these credentials with more headers (impersonation). */
export function withHeaders(credentials: Credentials, more: RequestHeaders): Credentials {
  let last: { readonly inner: Credential; readonly outer: Credential } | undefined;
  return {
    async current() {
      const inner = await credentials.current();
      if (last?.inner !== inner)
        last = { inner, outer: { ...inner, headers: { ...inner.headers, ...more } } };
      return last.outer;
    },
    renew: (rejected) => credentials.renew(rejected === last?.outer ? last.inner : rejected),
  };
}

/** Returns the header of a token. @throws KUBECONFIG_INVALID for one that would end the header. RFC 6750 §2.1 */
export function bearer(token: string): RequestHeaders {
  return { authorization: `Bearer ${headerSafe(token, 'token')}` };
}

/** Returns the header of a name and password. RFC 7617 §2 */
export function basic(username: string, password: string): RequestHeaders {
  return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
}

/** Returns `text` when it may stand in a header. @throws KUBECONFIG_INVALID */
export function headerSafe(text: string, what: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  throw new CzError('KUBECONFIG_INVALID', `the ${what} has characters that no header may have`);
}

/** Returns when the certificate ended, as a Date, if it has; undefined when it is valid or unreadable. */
export function endedAt(identity: TlsIdentity | undefined, now = new Date()): Date | undefined {
  if (identity === undefined) return undefined;
  try {
    const until = new Date(new X509Certificate(identity.cert).validTo);
    return until < now ? until : undefined;
  } catch {
    return undefined;
  }
}
