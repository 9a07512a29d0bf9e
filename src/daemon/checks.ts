/**
 * What `cz doctor` asks of a running daemon: the way, the manager, the routes, the resolver. The command line adds
 * what can be seen without one.
 */
import { lookup } from 'node:dns/promises';
import { messageOf } from '../base/errors.js';
import { VERSION } from '../base/version.js';
import type { Finding } from '../control/schema.js';
import { readHost } from '../routes/host.js';
import { formatCidr } from '../base/cidr.js';
import type { Connection } from './connection.js';

type Check = (connection: Connection) => Promise<Omit<Finding, 'check'>>;

const CHECKS: Readonly<Record<string, Check>> = {
  way: checkWay,
  manager: checkManager,
  routes: checkRoutes,
  dns: checkDns,
};

/** Returns a finding for each check; without a connection there is none. Never rejects. */
export async function checkConnection(connection: Connection | undefined): Promise<Finding[]> {
  if (connection === undefined) return [];
  return Promise.all(
    Object.entries(CHECKS).map(async ([check, look]) => {
      try {
        return { check, ...(await look(connection)) };
      } catch (error) {
        return { check, state: 'failed' as const, found: messageOf(error) };
      }
    }),
  );
}

async function checkWay({ link, lost, state }: Connection): Promise<Omit<Finding, 'check'>> {
  if (lost !== undefined || link?.attached !== true) {
    const reason = lost?.reason ?? state;
    return {
      state: 'failed',
      found: `no way to the manager: ${reason}`,
      next: 'cz logs says more; it goes on trying',
    };
  }
  const ms = link.roundTripMs;
  return {
    state: 'ok',
    found: ms === undefined ? 'connected' : `connected, ${ms.toFixed(1)} ms to the manager`,
  };
}

async function checkManager({ welcome }: Connection): Promise<Omit<Finding, 'check'>> {
  if (welcome === undefined) return { state: 'skipped', found: 'not joined' };
  const found = `${welcome.manager.namespace}/${welcome.manager.pod}, version ${welcome.software}`;
  if (welcome.software === VERSION) return { state: 'ok', found };
  return {
    state: 'warning',
    found: `${found}; this cz is ${VERSION}`,
    next: 'bring the manager to this version: cz install',
  };
}

async function checkRoutes({ laptop }: Connection): Promise<Omit<Finding, 'check'>> {
  const wanted = laptop?.routes ?? [];
  const host = await readHost();
  const name = laptop?.interface.name;
  const present = new Set(
    host.routes.filter((route) => route.interfaceName === name).map((route) => formatCidr(route.network)),
  );
  const missing = wanted.filter((route) => !present.has(route));
  if (missing.length === 0) return { state: 'ok', found: wanted.join(', ') };
  return {
    state: 'failed',
    found: `missing: ${missing.join(', ')}`,
    next: 'cz disconnect, then connect again',
  };
}

async function checkDns({ laptop }: Connection): Promise<Omit<Finding, 'check'>> {
  if (laptop === undefined) return { state: 'skipped', found: 'not joined' };
  const { mechanism, zones } = laptop.dns;
  const name = `kubernetes.default.svc.${zones[0] ?? 'cluster.local'}`;
  try {
    const { address } = await lookup(name, { family: 4 });
    return { state: 'ok', found: `${name} is ${address}, by ${mechanism}` };
  } catch (error) {
    return {
      state: 'failed',
      found: `looking up ${name}: ${messageOf(error)}`,
      next: 'cat /etc/resolv.conf',
    };
  }
}
