/**
 * A control server on a socket of its own, for tests: handlers that refuse unless replaced, a peer that the test
 * chooses.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CzError } from '../../src/base/errors.js';
import type { Authorize, Peer } from '../../src/control/access.js';
import type { ConnectParams } from '../../src/control/schema.js';
import { openControlServer, type ControlServer, type Handlers } from '../../src/control/server.js';

const unexpected = async (): Promise<never> => {
  throw new CzError('UNEXPECTED', 'the test expects no such call');
};

const REFUSING: Handlers = {
  connect: unexpected,
  disconnect: unexpected,
  status: unexpected,
  logs: unexpected,
  doctor: unexpected,
};

export interface TestServer {
  readonly path: string;
  readonly server: ControlServer;
  close(): Promise<void>;
}

/** Opens a server with these handlers; the peer is root unless told otherwise. */
export async function openTestServer(
  handlers: Partial<Handlers>,
  options: { readonly authorize?: Authorize; readonly peer?: Peer } = {},
): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'cz-control-'));
  const path = join(folder, 'cz.sock');
  const server = await openControlServer({
    path,
    authorize: options.authorize ?? (() => undefined),
    handlers: { ...REFUSING, ...handlers },
    peerOf: () => options.peer ?? { pid: 1, uid: 0, gid: 0 },
  });
  const close = async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  };
  return { path, server, close };
}

/** Parameters of a connect that ask for nothing special. */
export const CONNECT_PARAMS: ConnectParams = {
  invoker: { uid: 1000, gid: 1000, user: 'ada', home: '/home/ada', env: { PATH: '/bin' } },
  namespaces: [],
  alsoRoute: [],
  neverRoute: [],
  managerNamespace: 'cz-system',
  install: false,
};
