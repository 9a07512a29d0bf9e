/**
 * `cz status`: what the daemon says of itself, for people or for programs. Without a daemon: disconnected.
 */
import { EXIT } from '../base/errors.js';
import { VERSION } from '../base/version.js';
import { disconnectedStatus, type Status } from '../control/schema.js';
import type { CommandContext } from './command.js';
import { QUICK_CALL_MS, findDaemon } from './daemon.js';
import { formatRows, printAnswer } from './output.js';
import { printable, type Ui } from './ui.js';

/** Entries of a list that fit a line for people; `-o wide` shows all. */
const SHOWN = 6;

/** Runs the command. */
export async function run({ options, ui }: CommandContext): Promise<number> {
  const status = await readStatus();
  await printAnswer(ui, options.text('output'), {
    value: status,
    human: (wide) => formatStatus(status, wide, ui, new Date()),
    name: status.session === null ? '' : `session.cz.dev/${status.session.id}`,
  });
  return EXIT.ok;
}

/** Returns the daemon's status, or that of a laptop without one. @throws NOT_PERMITTED somebody else's session */
export async function readStatus(): Promise<Status> {
  const client = await findDaemon();
  if (client === undefined) return disconnectedStatus(VERSION);
  try {
    const status = await client.call('status', {}, { timeoutMs: QUICK_CALL_MS });
    return { ...status, client: { version: VERSION } };
  } finally {
    client.close();
  }
}

/** Returns the status for people. */
export function formatStatus(status: Status, wide: boolean, { paint }: Pick<Ui, 'paint'>, now: Date): string {
  const { state, context, session, dns, manager, lost, daemon } = status;
  if (state === 'disconnected') return 'not connected\n';
  const colour = state === 'connected' ? 'green' : 'yellow';
  const since = session === null ? '' : ` since ${formatAge(session.since, now)}`;
  const way = [status.via ?? undefined, status.roundTripMs === null ? undefined : `${status.roundTripMs} ms`];
  const rows: [string, string | undefined][] = [
    ['lost', lost === null ? undefined : `since ${formatAge(lost.since, now)}: ${lost.reason}`],
    ['server', status.server ?? undefined],
    ['way', way.filter((part) => part !== undefined).join(', ')],
    ['namespaces', some(status.namespaces, wide)],
    ['interface', formatInterface(status)],
    ['routes', some(status.routes, wide)],
    ['dns', dns === null ? undefined : `${dns.server} by ${dns.mechanism}: ${some(dns.zones, wide)}`],
    [
      'manager',
      manager === null ? undefined : `${manager.namespace}/${manager.pod}, version ${manager.version}`,
    ],
    ['user', wide ? (status.user ?? undefined) : undefined],
    ['session', wide ? session?.id : undefined],
    ['daemon', wide && daemon !== null ? `pid ${daemon.pid}, version ${daemon.version}` : undefined],
    ['intercepts', count(status.intercepts)],
    ['exposes', count(status.exposes)],
    ['mounts', count(status.mounts)],
  ];
  return `${paint(colour, state)} to ${paint('bold', printable(`"${context ?? ''}"`))}${since}\n${formatRows(rows)}`;
}

function formatInterface(status: Status): string | undefined {
  if (status.interface === null) return undefined;
  const { name, addresses, mtu } = status.interface;
  return `${name}  ${addresses.join(', ')}  mtu ${mtu}`;
}

function some(list: readonly string[], wide: boolean): string {
  if (wide || list.length <= SHOWN) return list.join(', ');
  return `${list.slice(0, SHOWN).join(', ')} and ${list.length - SHOWN} more`;
}

function count(list: readonly unknown[]): string | undefined {
  return list.length === 0 ? undefined : String(list.length);
}

/** Returns `12 s ago`, `5 min ago`, `3 h ago`, `2 days ago`. `since`: RFC 3339. */
export function formatAge(since: string, now: Date): string {
  const seconds = Math.max(0, Math.round((now.getTime() - Date.parse(since)) / 1000));
  if (!Number.isFinite(seconds)) return since;
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} days ago`;
}
