/**
 * What the API server's refusals mean: a Status object, or what a proxy on the way says instead, becomes one error with
 * a code, in words of the user's.
 * https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#error-codes
 */
import { CzError } from '../base/errors.js';
import type { ClusterAccess } from './access.js';
import { endedAt, type TlsIdentity } from './credentials.js';
import { isFields, optionalText } from './shape.js';

/** An error that the API server answered with. */
export class ApiError extends CzError {
  /** The HTTP status, 400 … 599. */
  readonly httpStatus: number;
  /** The Status's reason (`AlreadyExists`, `Forbidden`, `Expired`), or empty. */
  readonly reason: string;

  constructor(code: string, message: string, answer: { httpStatus: number; reason: string; hint?: string }) {
    super(code, message, answer.hint === undefined ? {} : { hint: answer.hint });
    this.name = 'ApiError';
    this.httpStatus = answer.httpStatus;
    this.reason = answer.reason;
  }
}

/** A refusal as it came. */
export interface Refusal {
  readonly access: ClusterAccess;
  readonly identity: TlsIdentity | undefined;
  readonly httpStatus: number;
  readonly body: string;
  /** Method and path, for messages. */
  readonly asked: string;
}

/** Characters of an answer that are quoted in an error. */
const QUOTED = 2_000;

/** Returns the error for a refusal. */
export function apiError(refusal: Refusal): ApiError {
  const { httpStatus } = refusal;
  const { message, reason } = statusOf(refusal.body);
  const said = message === '' ? `${refusal.asked}: the API server answered ${httpStatus}` : message;
  const make = (code: string, text: string, hint?: string) =>
    new ApiError(code, text, { httpStatus, reason, ...(hint === undefined ? {} : { hint }) });
  switch (httpStatus) {
    case 401:
      return make('CREDENTIAL_EXPIRED', ...expired(refusal));
    case 403:
      return make('NOT_PERMITTED', ...forbidden(said));
    case 404:
      return make('NOT_FOUND', said);
    case 409:
      return make('CONFLICT', said);
    case 410:
      return make('GONE', said);
    case 429:
      return make('API_BUSY', said);
    case 400:
    case 405:
    case 413:
    case 415:
      return make('REJECTED', said);
    case 422:
      return make('INVALID', said);
    default:
      return make('API_FAILED', said);
  }
}

function statusOf(body: string): { readonly message: string; readonly reason: string } {
  try {
    const status: unknown = JSON.parse(body);
    if (!isFields(status) || status['kind'] !== 'Status') return { message: '', reason: '' };
    const [message = '', reason = ''] = ['message', 'reason'].map((key) => optionalText(status, key));
    return { message: printable(message), reason };
  } catch {
    return { message: '', reason: '' };
  }
}

/** Returns text from outside without control characters, cut. */
export function printable(text: string): string {
  return text.slice(0, QUOTED).replace(/[^\P{C}\n\t]/gu, '?');
}

function expired({ access, identity }: Refusal): [message: string, hint: string] {
  const ended = endedAt(identity);
  const who = `the credential of context "${access.context}"`;
  const message =
    ended === undefined
      ? `the API server does not accept ${who}`
      : `${who} has expired: its client certificate ended ${ended.toISOString().replace('.000', '')}`;
  return [
    message,
    'log in anew (your provider’s login command), or get a new kubeconfig; kubectl get ns shows the same',
  ];
}

/** RBAC's sentence. kubernetes/staging/src/k8s.io/apiserver, forbiddenMessage */
const FORBIDDEN =
  /User "([^"]*)" cannot ([a-z]+) (?:resource|path) "([^"]*)"(?: in API group "([^"]*)")?(?: in the namespace "([^"]*)")?/;

/** Returns the message and hint of a refusal for want of rights, from a text that holds RBAC's sentence. */
export function forbidden(said: string): [message: string, hint?: string] {
  const match = FORBIDDEN.exec(said);
  if (match === null) return [said];
  const [, user = '', verb = '', resource = '', group = '', namespace] = match;
  const [plural = '', subresource] = resource.split('/');
  const kind = `${plural}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;
  const named = /(?:^|: )[a-z./0-9-]+ "([^"]+)" is forbidden/.exec(said)?.[1];
  const what = named === undefined ? kind : `${kind} "${named}"`;
  const where = namespace === undefined ? 'in the whole cluster' : `in namespace "${namespace}"`;
  return [`user "${user}" may not ${verb} ${what} ${where}`, forbiddenHint(user, group, resource)];
}

function forbiddenHint(user: string, group: string, resource: string): string {
  if (user === 'system:anonymous')
    return 'the kubeconfig’s user has no credential, so the API server sees nobody';
  const connects = group === 'cz.dev' || /^pods\/(?:proxy|portforward)$/.test(resource);
  return connects
    ? 'an administrator lets you in: cz install --allow-group GROUP (kubectl auth whoami lists your groups)'
    : 'an administrator of the cluster can grant it by a Role';
}
