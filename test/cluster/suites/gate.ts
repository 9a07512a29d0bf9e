/**
 * A user's way to the cluster for the security suites: `kubectl proxy` on a laptop, with that user's credential, behind a
 * unix socket. Through it a test speaks the API and dials the manager by the pod proxy, byte for byte as it likes.
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import type { SessionResource, SessionStatus } from '../../../src/kube/session.js';
import type { Carrier } from '../../../src/tunnel/carrier.js';
import {
  createKeyPair,
  openSession,
  type LaptopHello,
  type SessionKey,
  type Welcome,
} from '../../../src/tunnel/handshake.js';
import { dialWebsocket } from '../../../src/tunnel/websocket.js';
import type { SuiteLaptop } from '../harness/cluster.js';
import { inCluster } from '../harness/settings.js';
import { until } from '../harness/until.js';
import { MANAGER } from './support.js';

const SESSIONS = `/apis/cz.dev/v1/namespaces/${MANAGER.namespace}/sessions`;
const DOOR = `/api/v1/namespaces/${MANAGER.namespace}/pods/${MANAGER.pod}:443/proxy/v1/session`;
const SOON = { timeoutMs: 20_000, everyMs: 50 };
const DIAL_TIMEOUT_MS = 15_000;

/** A Session made by a test, and the key that its spec holds. */
export interface Enrolled {
  readonly resource: SessionResource;
  readonly uid: string;
  readonly name: string;
  readonly key: SessionKey;
  /** The manager's key, as the status says it. */
  readonly managerKey: string;
}

export interface Gate {
  readonly user: string;
  /** Returns the API server's answer, whatever it is. */
  call(
    method: string,
    path: string,
    body?: object,
  ): Promise<{ readonly status: number; readonly body: unknown }>;
  /** Creates a Session and waits for the manager's key in its status. */
  enroll(options?: { readonly key?: SessionKey; readonly name?: string }): Promise<Enrolled>;
  /** Returns the Session as it stands. */
  session(name: string): Promise<SessionResource>;
  remove(name: string): Promise<void>;
  /** Opens a TCP connection that leads to the API server. */
  connect(): Promise<Socket>;
  /** Opens a websocket at the manager. */
  dial(): Promise<Carrier>;
  close(): Promise<void>;
}

/** Opens a gate as the user of the kubeconfig. */
export async function openGate(laptop: SuiteLaptop, kubeconfig: string): Promise<Gate> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cz-gate-'));
  const socketPath = path.join(folder, 'socket');
  const own = inCluster('bin', 'kubectl');
  const argv = [existsSync(own) ? own : 'kubectl', `--kubeconfig=${kubeconfig}`, 'proxy'];
  const proxy = laptop.spawn([...argv, `--unix-socket=${socketPath}`], { stdio: 'ignore' });
  const ended = once(proxy, 'exit');
  await until('the gate', () => existsSync(socketPath), SOON);
  const made: string[] = [];
  const user = await userOf(socketPath);
  const gate: Gate = {
    user,
    call: (method, at, body) => call(socketPath, method, at, body),
    async enroll({ key = createKeyPair(), name } = {}) {
      const spec = { user, publicKey: key.publicKey, software: 'suite', host: 'suite' };
      const metadata = name === undefined ? { generateName: 'suite-' } : { name };
      const { status, body } = await gate.call('POST', SESSIONS, {
        apiVersion: 'cz.dev/v1',
        kind: 'Session',
        metadata,
        spec,
      });
      if (status !== 201) throw new Error(`creating a Session: ${status} ${JSON.stringify(body)}`);
      const { metadata: given } = sessionIn(body);
      made.push(given.name);
      const served = await until(
        'the manager’s key',
        async () => servedBy(await gate.session(given.name)),
        SOON,
      );
      return { ...served, uid: given.uid, name: given.name, key };
    },
    session: async (name) => sessionIn((await gate.call('GET', `${SESSIONS}/${name}`)).body),
    async remove(name) {
      await gate.call('DELETE', `${SESSIONS}/${name}`);
    },
    connect: () => connected(socketPath),
    dial: () =>
      dialWebsocket({
        url: new URL(`ws://localhost${DOOR}`),
        headers: {},
        createConnection: () => connected(socketPath),
        tune: () => undefined,
        timeoutMs: DIAL_TIMEOUT_MS,
      }),
    async close() {
      await Promise.all(made.map((name) => gate.remove(name)));
      proxy.kill();
      await ended;
      await rm(folder, { recursive: true });
    },
  };
  return gate;
}

/** What the suites' own laptops ask for: addresses that no real laptop asks for first, so that they are known again. */
const SUITE_RANGE = '192.0.2.0/24';

/** Returns what such a laptop says of itself. */
export function suiteHello(more: Partial<LaptopHello> = {}): LaptopHello {
  const offloads = { checksum: true, tso4: true, tso6: false, tsoEcn: false, uso: false };
  return {
    versions: [1],
    software: 'suite',
    addressRanges: [SUITE_RANGE],
    offloads,
    mtuMax: 65_535,
    ...more,
  };
}

/** Joins with the Session's own key, as the daemon does. @throws the refusal's code */
export async function join(
  carrier: Carrier,
  { uid, key, managerKey }: Enrolled,
  { hello = suiteHello(), mode = 'open' }: { hello?: LaptopHello; mode?: 'open' | 'resume' } = {},
): Promise<Welcome> {
  const options = { sessionUid: uid, key, hello, mode, timeoutMs: DIAL_TIMEOUT_MS } as const;
  return openSession(carrier, { ...options, managerKey: () => Promise.resolve(managerKey) });
}

async function call(socketPath: string, method: string, at: string, body?: object) {
  const asking = request({
    socketPath,
    method,
    path: at,
    headers: { host: 'localhost', 'content-type': 'application/json' },
  });
  asking.end(body === undefined ? undefined : JSON.stringify(body));
  const answer = await new Promise<{ status: number; said: string }>((resolve, reject) => {
    asking.once('error', reject);
    asking.once('response', (response) => {
      text(response).then((said) => resolve({ status: response.statusCode ?? 0, said }), reject);
    });
  });
  const said: unknown = answer.said.startsWith('{') ? JSON.parse(answer.said) : answer.said;
  return { status: answer.status, body: said };
}

async function userOf(socketPath: string): Promise<string> {
  const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
  const { body } = await call(
    socketPath,
    'POST',
    '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    review,
  );
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the API server holds it to its schema
  return (body as { status: { userInfo: { username: string } } }).status.userInfo.username;
}

async function connected(socketPath: string): Promise<Socket> {
  const socket = connect(socketPath);
  await once(socket, 'connect');
  return socket;
}

function sessionIn(body: unknown): SessionResource {
  if (typeof body !== 'object' || body === null || !('kind' in body) || body.kind !== 'Session')
    throw new Error(`no Session: ${JSON.stringify(body)}`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the API server holds it to its schema
  return body as SessionResource;
}

function servedBy(resource: SessionResource): { resource: SessionResource; managerKey: string } | undefined {
  const status: SessionStatus | undefined = resource.status;
  return status?.managerKey === undefined ? undefined : { resource, managerKey: status.managerKey };
}
