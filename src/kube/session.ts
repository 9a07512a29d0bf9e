/**
 * The Session resource (`sessions.cz.dev`): one laptop's stay at a manager. The laptop creates it with the user's own
 * credential and waits for the manager's key in its status; the manager alone writes that status. DESIGN, decision 10.
 */
import type { ObjectMeta } from 'kubernetes-types/meta/v1.js';
import { CzError, hasCode } from '../base/errors.js';
import type { CallOptions, KubeApi } from './api.js';
import { apiPath } from './path.js';
import { fields, optionalText, textList } from './shape.js';

export interface SessionSpec {
  /** Kubernetes' name for the user. */
  readonly user: string;
  /** Ed25519, base64 of 32 bytes. */
  readonly publicKey: string;
  /** cz's version. */
  readonly software: string;
  /** The laptop's host name. */
  readonly host?: string;
}

export interface SessionStatus {
  readonly phase: 'Connected' | 'Away';
  /** Ed25519, base64 of 32 bytes. */
  readonly managerKey: string;
  readonly pod: string;
  readonly podIP: string;
  readonly address?: string;
  /** RFC 3339. */
  readonly connectedSince?: string;
  /** RFC 3339. */
  readonly lastSeen?: string;
}

export interface SessionResource {
  readonly apiVersion: 'cz.dev/v1';
  readonly kind: 'Session';
  readonly metadata: ObjectMeta & {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
  readonly spec: SessionSpec;
  readonly status?: SessionStatus;
}

const API_VERSION = 'cz.dev/v1';

/** Returns the path of the Sessions of a namespace. */
export function sessionsPath(namespace: string): string {
  return apiPath`/apis/cz.dev/v1/namespaces/${namespace}/sessions`;
}

/** Returns the path of one Session. */
export function sessionPath(namespace: string, name: string): string {
  return apiPath`/apis/cz.dev/v1/namespaces/${namespace}/sessions/${name}`;
}

type Options = Pick<CallOptions, 'signal'>;

/** Creates a Session under a name of the API server's making. @throws MANAGER_MISSING, NOT_PERMITTED … */
export async function createSession(
  api: KubeApi,
  namespace: string,
  spec: SessionSpec,
  options: Options = {},
): Promise<SessionResource> {
  const metadata = { namespace, generateName: `${nameOf(spec.user)}-` };
  const session = { apiVersion: API_VERSION, kind: 'Session', metadata, spec };
  try {
    return await api.create<SessionResource>(sessionsPath(namespace), session, options);
  } catch (error) {
    throw hasCode(error, 'NOT_FOUND') ? managerMissing(namespace, error) : error;
  }
}

/** Returns the error for a cluster without a manager in this namespace. */
function managerMissing(namespace: string, cause?: unknown): CzError {
  return new CzError('MANAGER_MISSING', `no traffic manager is installed in namespace "${namespace}"`, {
    cause,
    hint: 'cz install puts it there, or sudo cz connect --install',
  });
}

/** Returns a part of an object's name out of a user's: its first 40 characters that may stand there. RFC 1123 */
function nameOf(user: string): string {
  const plain = user.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return plain.replace(/^-+/, '').slice(0, 40).replace(/-+$/, '') || 'session';
}

export interface AwaitOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Resolves with the status as soon as a manager has written its key there; watches from the version given, without a
 * list.
 * @throws MANAGER_SILENT nothing within the time · SESSION_GONE it was deleted · NOT_PERMITTED · INTERRUPTED
 */
export function awaitManager(
  api: KubeApi,
  namespace: string,
  session: SessionResource,
  options: AwaitOptions,
): Promise<SessionStatus> {
  const served = servedStatus(session);
  if (served !== undefined) return Promise.resolve(served);
  const { name, uid, resourceVersion } = session.metadata;
  return new Promise((resolve, reject) => {
    const end = (result: SessionStatus | CzError) => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', interrupted);
      watch.close();
      if (result instanceof CzError) reject(result);
      else resolve(result);
    };
    const interrupted = () => end(new CzError('INTERRUPTED', 'waiting for the manager was interrupted'));
    const watch = api.watch<SessionResource>(sessionsPath(namespace), {
      fieldSelector: `metadata.name=${name}`,
      since: { resourceVersion, objects: [session] },
      onChange(objects) {
        const now = objects.get(uid);
        const status = now === undefined ? gone(name) : servedStatus(now);
        if (status !== undefined) end(status);
      },
      onError: (error) => (LASTING.has(error.code) ? end(error) : undefined),
    });
    const timer = setTimeout(() => end(silent(namespace, options.timeoutMs)), options.timeoutMs);
    if (options.signal?.aborted === true) interrupted();
    else options.signal?.addEventListener('abort', interrupted, { once: true });
  });
}

function gone(name: string): CzError {
  return new CzError('SESSION_GONE', `Session "${name}" was deleted`);
}

const LASTING = new Set(['NOT_PERMITTED', 'CREDENTIAL_EXPIRED', 'NOT_FOUND']);

function silent(namespace: string, timeoutMs: number): CzError {
  const message = `the traffic manager in namespace "${namespace}" has not answered within ${timeoutMs / 1000} s`;
  return new CzError('MANAGER_SILENT', message, {
    hint: `kubectl -n ${namespace} get pods shows whether it runs`,
  });
}

/** Returns the status of a Session that a manager serves (key and pod are there and well-formed), else undefined. */
function servedStatus({ status }: SessionResource): SessionStatus | undefined {
  if (status === undefined) return undefined;
  const { managerKey, pod }: { managerKey: unknown; pod: unknown } = status;
  const hasKey = typeof managerKey === 'string' && /^[A-Za-z0-9+/]{43}=$/.test(managerKey);
  return hasKey && typeof pod === 'string' && /^[a-z0-9.-]{1,253}$/.test(pod) ? status : undefined;
}

/** Returns the Session. @throws NOT_FOUND */
export function getSession(
  api: KubeApi,
  namespace: string,
  name: string,
  options: Options = {},
): Promise<SessionResource> {
  return api.get<SessionResource>(sessionPath(namespace, name), options);
}

/** Writes fields of a Session's status (the manager's right). @throws NOT_FOUND, CONFLICT when it is another Session now */
export function patchStatus(
  api: KubeApi,
  session: SessionResource,
  status: Partial<SessionStatus>,
): Promise<SessionResource> {
  const { name, namespace, uid } = session.metadata;
  const path = `${sessionPath(namespace, name)}/status`;
  return api.patch<SessionResource>(path, { metadata: { uid }, status }, 'merge');
}

/** Who the API server takes the caller for. */
interface Identity {
  readonly username: string;
  readonly groups: readonly string[];
}

/** Returns Kubernetes' name for the user whose credential this is. */
export async function whoAmI(api: KubeApi, options: Options = {}): Promise<string> {
  return (await reviewSelf(api, options)).username;
}

/** Returns who we are to the API server. kubernetes.io, SelfSubjectReview (1.28) */
export async function reviewSelf(api: KubeApi, options: Options = {}): Promise<Identity> {
  const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
  const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
  const answer = await api.create<Record<string, unknown>>(path, review, options);
  try {
    const user = fields(fields(answer['status'], 'status')['userInfo'], 'userInfo');
    return { username: optionalText(user, 'username') ?? '', groups: textList(user, 'groups') };
  } catch (cause) {
    throw new CzError('API_FAILED', 'the API server did not say who we are', { cause });
  }
}
