/**
 * The laptop's Session in the cluster, and the websocket that belongs to it: creates the resource with the user's
 * credential, finds the manager in its status, dials, proves itself. Does not touch the laptop.
 */
import { hostname } from 'node:os';
import { descriptorOf, tuneSocket } from '../base/addon.js';
import { CzError, hasCode, messageOf } from '../base/errors.js';
import { VERSION } from '../base/version.js';
import type { Dial, KubeApi } from '../kube/api.js';
import { apiPath } from '../kube/path.js';
import { forbidden } from '../kube/status.js';
import { awaitManager, createSession, getSession, whoAmI, type SessionResource } from '../kube/session.js';
import type { Carrier } from '../tunnel/carrier.js';
import {
  createKeyPair,
  openSession,
  type LaptopHello,
  type Mode,
  type Welcome,
} from '../tunnel/handshake.js';
import { TUNNEL_TUNING } from '../tunnel/tuning.js';
import { dialWebsocket } from '../tunnel/websocket.js';

/** How long the manager may take to put its key into a Session's status before it counts as not running. */
const MANAGER_TIMEOUT_MS = 5000;
/** Dialling and the handshake, each: short, since a lost way is tried again at once. */
const DIAL_TIMEOUT_MS = 3000;
/** The manager's port: private clusters let their API server reach pods on 443 and 10250 only. */
const PORT = 443;

export interface Membership {
  /** The Session's UID and name now; another one after the former was deleted. */
  readonly session: { readonly id: string; readonly name: string };
  /** Kubernetes' name for the user. */
  readonly user: string;
  /**
   * Opens a websocket to the manager and proves this laptop on it: resumes where that manager knows the session,
   * else opens it anew, under a new Session if the former is gone.
   * @throws MANAGER_SILENT, MANAGER_UNREACHABLE, NOT_PERMITTED, API_UNREACHABLE, VERSION_MISMATCH, NO_ADDRESS …
   */
  join(hello: LaptopHello): Promise<Joined>;
}

export interface Joined {
  readonly carrier: Carrier;
  readonly welcome: Welcome;
  /** The laptop's address that the websocket goes out from; undefined where the kernel does not say. */
  readonly localAddress: string | undefined;
  /** Whether the session went on (same manager, same forwarding state) or began anew. */
  readonly mode: Mode;
}

export interface MembershipOptions {
  readonly api: KubeApi;
  readonly managerNamespace: string;
  readonly managerUrl?: string;
  readonly signal: AbortSignal;
}

/** Creates the Session. @throws MANAGER_MISSING, NOT_PERMITTED, CREDENTIAL_EXPIRED, API_UNREACHABLE */
export async function enroll(options: MembershipOptions): Promise<Membership> {
  const { api, managerNamespace, signal } = options;
  const key = createKeyPair();
  const user = await whoAmI(api, { signal });
  const spec = { user, publicKey: key.publicKey, software: VERSION, host: hostname().slice(0, 253) };
  let session = await createSession(api, managerNamespace, spec, { signal });
  let isNew = true;
  /** The key of the manager that holds our session's state. */
  let joinedTo: string | undefined;

  const current = async (): Promise<SessionResource> => {
    const found = await findSession(options, session.metadata.name);
    if (found?.metadata.uid === session.metadata.uid) return found;
    joinedTo = undefined;
    return createSession(api, managerNamespace, spec, { signal });
  };
  const shake = async (mode: Mode, pod: string, managerKey: string, hello: LaptopHello): Promise<Joined> => {
    const { carrier, localAddress } = await dial(options, pod);
    const stop = () => carrier.terminate();
    signal.addEventListener('abort', stop, { once: true });
    try {
      const sessionUid = session.metadata.uid;
      const proof = { sessionUid, key, hello, mode, managerKey: async () => managerKey };
      const welcome = await openSession(carrier, { ...proof, timeoutMs: DIAL_TIMEOUT_MS });
      joinedTo = managerKey;
      return { carrier, welcome, mode, localAddress };
    } finally {
      signal.removeEventListener('abort', stop);
    }
  };

  return {
    get session() {
      return { id: session.metadata.uid, name: session.metadata.name };
    },
    user,
    async join(hello) {
      if (!isNew) session = await current();
      isNew = false;
      const { pod, managerKey } = await awaitManager(api, managerNamespace, session, {
        signal,
        timeoutMs: MANAGER_TIMEOUT_MS,
      });
      if (managerKey !== joinedTo) return shake('open', pod, managerKey, hello);
      try {
        return await shake('resume', pod, managerKey, hello);
      } catch (error) {
        if (!hasCode(error, 'UNKNOWN_SESSION')) throw error;
        return shake('open', pod, managerKey, hello);
      }
    },
  };
}

async function findSession(
  { api, managerNamespace, signal }: MembershipOptions,
  name: string,
): Promise<SessionResource | undefined> {
  try {
    return await getSession(api, managerNamespace, name, { signal });
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

/** Dials the manager's pod; once more with a newer credential where the API server refuses the present one. */
async function dial(options: MembershipOptions, pod: string): Promise<Dialled> {
  const { api, managerNamespace, managerUrl } = options;
  const way =
    managerUrl === undefined
      ? api.dial(apiPath`/api/v1/namespaces/${managerNamespace}/pods/${`${pod}:${PORT}`}/proxy/v1/session`)
      : api.dialUrl(new URL(managerUrl));
  try {
    return await dialBy(way, options.signal);
  } catch (error) {
    if (hasCode(error, 'NOT_PERMITTED')) throw notPermitted(error);
    if (!hasCode(error, 'CREDENTIAL_EXPIRED') || !(await way.renew())) throw error;
    return dialBy(way, options.signal);
  }
}

/** The API server's refusal of the upgrade, in the words of every other refusal. */
function notPermitted(cause: unknown): CzError {
  const [message, hint] = forbidden(messageOf(cause));
  return new CzError('NOT_PERMITTED', message, { cause, ...(hint === undefined ? {} : { hint }) });
}

interface Dialled {
  readonly carrier: Carrier;
  readonly localAddress: string | undefined;
}

async function dialBy(way: Dial, signal: AbortSignal): Promise<Dialled> {
  let localAddress: string | undefined;
  const carrier = await dialWebsocket({
    url: way.url,
    headers: await way.headers(),
    createConnection: () => way.createConnection(),
    tune(socket) {
      localAddress = socket.localAddress;
      const fd = descriptorOf(socket);
      if (fd !== undefined) tuneSocket(fd, TUNNEL_TUNING);
    },
    timeoutMs: DIAL_TIMEOUT_MS,
    signal,
  });
  return { carrier, localAddress };
}
