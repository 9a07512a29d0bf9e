/**
 * A stand-in for the daemon behind the real control socket: connects nobody, says what a daemon would say, and writes
 * the parameters of the last connect to /run/params.json. The context "other" is in the way, "broken" fails.
 */
import { writeFileSync } from 'node:fs';
import { CzError } from '../../src/base/errors.js';
import { createAccess } from '../../src/control/access.js';
import {
  CONTROL_SOCKET,
  LOG_PATH,
  disconnectedStatus,
  type ConnectParams,
  type Status,
} from '../../src/control/schema.js';
import { openControlServer } from '../../src/control/server.js';
import { announceReady } from '../../src/daemon/ready.js';

let params: ConnectParams | undefined;

function status(): Status {
  const none = { ...disconnectedStatus('0.0.1'), daemon: { pid: process.pid, version: '0.0.1' } };
  if (params === undefined) return none;
  return {
    ...none,
    state: 'connected',
    context: params.context ?? 'shop-dev',
    server: 'https://192.0.2.1:6443',
    namespaces: ['shop'],
    session: { id: '8c0f', since: new Date().toISOString() },
    via: 'pod-proxy',
    roundTripMs: 0.7,
    interface: { name: 'cz0', addresses: ['198.18.0.2/32'], mtu: 1450 },
    routes: ['10.96.0.0/16'],
    dns: { mechanism: 'resolv.conf', server: '198.19.255.53', zones: ['cluster.local'] },
    manager: { namespace: 'cz-system', pod: 'cz-manager-0', version: '0.0.1' },
    user: params.invoker.user,
  };
}

/** As the daemon does: one that could not connect has nothing to do. */
function fail(error: CzError): never {
  end();
  throw error;
}

function end(): void {
  setImmediate(() => void server.close().then(() => process.exit(0)));
}

const server = await openControlServer({
  path: CONTROL_SOCKET,
  authorize: createAccess(() => params?.invoker),
  handlers: {
    async connect(wanted, call) {
      call.emit({ kind: 'started', step: 'session', text: 'asking the cluster' });
      if (wanted.context === 'slow') {
        await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
        return fail(new CzError('INTERRUPTED', 'connecting was interrupted'));
      }
      if (wanted.context === 'broken')
        return fail(new CzError('API_UNREACHABLE', 'no answer', { hint: 'look' }));
      if (params !== undefined && wanted.context === 'other')
        throw new CzError('OTHER_CONTEXT', 'connected to "shop-dev", not to "other"', {
          hint: 'cz disconnect',
        });
      call.emit({ kind: 'done', step: 'session', text: 'asking the cluster', tookMs: 3 });
      const outcome = params === undefined ? 'connected' : 'unchanged';
      params = wanted;
      writeFileSync('/run/params.json', JSON.stringify(wanted));
      return { outcome, changes: [], status: status() };
    },
    async disconnect() {
      const context = status().context;
      end();
      return { wasConnected: params !== undefined, context, leftovers: [] };
    },
    status: async () => status(),
    logs: async () => ({ path: LOG_PATH, manager: null }),
    doctor: async () => ({ findings: [{ check: 'way', state: 'ok', found: '0.7 ms' }] }),
  },
});
console.error(JSON.stringify({ time: new Date().toISOString(), level: 'info', message: 'starting' }));
announceReady();
