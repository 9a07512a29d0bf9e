/**
 * What `cz status` says, out of what the connection knows of itself.
 */
import { VERSION } from '../base/version.js';
import { disconnectedStatus, type Status } from '../control/schema.js';
import type { Connection } from './connection.js';

/** Returns the status of this connection, or of none. */
export function statusOf(connection: Connection | undefined): Status {
  const none = { ...disconnectedStatus(VERSION), daemon: { pid: process.pid, version: VERSION } };
  if (connection === undefined || connection.state === 'disconnected') return none;
  const { api, membership, laptop, link, welcome, lost, params, state } = connection;
  return {
    ...none,
    state,
    context: api?.access.context ?? params.context ?? null,
    server: api?.access.server.href.replace(/\/$/, '') ?? null,
    namespaces: connection.namespaces,
    session:
      membership === undefined ? null : { id: membership.session.id, since: connection.since.toISOString() },
    via: membership === undefined ? null : params.managerUrl === undefined ? 'pod-proxy' : 'url',
    roundTripMs: rounded(link?.roundTripMs),
    interface: laptop === undefined ? null : laptop.interface,
    routes: laptop?.routes ?? [],
    dns: laptop === undefined ? null : laptop.dns,
    manager: welcome === undefined ? null : { ...welcome.manager, version: welcome.software },
    lost: lost === undefined ? null : { since: lost.since.toISOString(), reason: lost.reason },
    user: params.invoker.user,
  };
}

function rounded(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.round(ms * 100) / 100;
}
