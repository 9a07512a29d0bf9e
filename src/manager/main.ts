/**
 * The traffic manager's program: what runs in the pod. It puts the parts together, in this order: configuration,
 * the cluster's networks, the kernel's forwarding, the sessions, the port. SIGTERM ends them in reverse.
 */
import type { Socket } from 'node:net';
import { descriptorOf, makeTunDevice, setForwarding, tuneSocket } from '../base/addon.js';
import { codeOf } from '../base/errors.js';
import { createLog } from '../base/log.js';
import { VERSION } from '../base/version.js';
import { openApi } from '../kube/api.js';
import { inClusterAccess } from '../kube/incluster.js';
import { createNftablesEngine } from '../nat/nftables.js';
import { TUNNEL_TUNING } from '../tunnel/tuning.js';
import { createKeyPair } from '../tunnel/handshake.js';
import { readConfig } from './config.js';
import { openFront } from './front.js';
import { openNetworks } from './networks.js';
import { openSessions } from './sessions.js';

const log = createLog();

async function main(): Promise<void> {
  const config = readConfig(process.env);
  log.info('starting', { version: VERSION, pod: config.pod, node: process.version });
  makeTunDevice();
  const stop = new AbortController();
  const api = openApi(await inClusterAccess(process.env), { tune });
  const key = createKeyPair();
  const nat = createNftablesEngine({ log, setForwarding });
  const { mtu } = await nat.prepare(config);
  const networks = openNetworks({ api, config, log, signal: stop.signal });
  const sessions = openSessions({ api, config, key, nat, mtu, log, networks: () => networks.current() });
  networks.onChange(({ announced, forwarding }) => {
    nat.setNetworks(forwarding).catch((error: unknown) => log.error('setting the networks', { error }));
    sessions.announce(announced);
  });
  const front = await openFront({ port: config.port, key, sessions, log, tune, ready: () => networks.ready });
  log.info('serving', { port: front.port, mtu });
  await terminated();
  log.info('stopping');
  await sessions.close();
  await front.close();
  stop.abort();
  await nat.close();
  api.close();
}

function tune(socket: Socket): void {
  const fd = descriptorOf(socket);
  if (fd !== undefined) tuneSocket(fd, TUNNEL_TUNING);
}

function terminated(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    log.error('the manager cannot go on', { code: codeOf(error), error });
    process.exit(1);
  },
);
