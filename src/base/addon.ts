/**
 * The only importer of the C addon (native/): typed wrappers around what Node cannot do. Loaded at the first call, so
 * programs that need none of it never look for it. Failed system calls throw CzError with the errno's name as code.
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';
import { parseAddress } from './cidr.js';
import { CzError } from './errors.js';

/** A TUN as the addon holds it; only the addon can look inside. */
type NativeTun = object;

interface Addon {
  tunOpen(name: string, queueBytes: number, readable: () => void): NativeTun | readonly [number, number];
  tunName(tun: NativeTun): string;
  tunOffloads(tun: NativeTun): number;
  tunSetOffloads(tun: NativeTun, wanted: number): number;
  tunSetSession(tun: NativeTun, side: number, address: number): void;
  tunTake(tun: NativeTun, arena: Buffer, offset: number, wanted: number): number;
  tunWrite(tun: NativeTun, records: Buffer): number;
  tunStats(tun: NativeTun): readonly number[];
  tunClose(tun: NativeTun): void;
  tunDeviceMake(path: string): number;
  peerCredentials(fd: number): number | readonly [number, number, number];
  setNotsentLowat(fd: number, bytes: number): number;
  setUserTimeout(fd: number, ms: number): number;
  setCongestion(fd: number, name: string): number;
  setForwarding(interfaceName: string): number;
  destroySockets(address: number): number;
}

/** Below the package's root: from src/base in the repository, from dist/ in a bundle. */
const PLACES = ['../native/build/', '../../native/build/'];

let loaded: Addon | undefined;

function addon(): Addon {
  loaded ??= loadAddon();
  return loaded;
}

function loadAddon(): Addon {
  const file = `linux-${process.arch}/cz.node`;
  const paths = PLACES.map((place) => fileURLToPath(new URL(place + file, import.meta.url)));
  const path = paths.find((candidate) => existsSync(candidate));
  const hint = 'install cz again, or in its repository: npm run build:native';
  if (path === undefined) throw new CzError('ADDON_MISSING', `no addon "${file}" beside cz`, { hint });
  try {
    return checked(createRequire(import.meta.url)(path));
  } catch (cause) {
    throw new CzError('ADDON_MISSING', `the addon "${path}" cannot be loaded`, { hint, cause });
  }
}

function checked(module: unknown): Addon {
  if (!isAddon(module)) throw new CzError('ADDON_MISSING', 'the addon is of another version');
  return module;
}

function isAddon(module: unknown): module is Addon {
  return typeof module === 'object' && module !== null && 'destroySockets' in module && 'tunOpen' in module;
}

function succeed(result: number, doing: string): number {
  if (result >= 0) return result;
  const name = getSystemErrorName(result);
  throw new CzError(name, `${doing}: ${name}`);
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Returns who connected to a unix socket, as the kernel noted it (SO_PEERCRED, unix(7)). @throws errno's name */
export function peerCredentials(fd: number): PeerCredentials {
  const result = addon().peerCredentials(fd);
  if (typeof result === 'number') throw failed(result, 'asking who is at the other end');
  const [pid, uid, gid] = result;
  return { pid, uid, gid };
}

function failed(result: number, doing: string): CzError {
  const name = getSystemErrorName(result);
  return new CzError(name, `${doing}: ${name}`);
}

/** Returns the descriptor under a connected socket (of TLS too), or undefined when there is none (any more). */
export function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const fd: unknown = Reflect.get(handle, 'fd');
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}

export interface SocketTuning {
  /** What the kernel may hold unsent before it stops taking more (TCP_NOTSENT_LOWAT), in bytes. */
  readonly notsentLowatBytes?: number;
  /** How long sent data may stay unacknowledged before the connection ends (TCP_USER_TIMEOUT). */
  readonly userTimeoutMs?: number;
  /** Congestion control by the kernel's name, `bbr`. */
  readonly congestion?: string;
}

/** Which settings are in force. */
export interface SocketTuned {
  readonly notsentLowat: boolean;
  readonly userTimeout: boolean;
  readonly congestion: boolean;
}

/** Sets the given TCP options (tcp(7)) and returns which the kernel took; never throws for one that it lacks. */
export function tuneSocket(fd: number, tuning: SocketTuning): SocketTuned {
  const { notsentLowatBytes, userTimeoutMs, congestion } = tuning;
  const native = addon();
  return {
    notsentLowat: notsentLowatBytes !== undefined && native.setNotsentLowat(fd, notsentLowatBytes) === 0,
    userTimeout: userTimeoutMs !== undefined && native.setUserTimeout(fd, userTimeoutMs) === 0,
    congestion: congestion !== undefined && native.setCongestion(fd, congestion) === 0,
  };
}

/** Turns IPv4 forwarding on for one interface; needs NET_ADMIN only, no writable /proc/sys. @throws errno's name */
export function setForwarding(interfaceName: string): void {
  succeed(addon().setForwarding(interfaceName), `turning on forwarding of "${interfaceName}"`);
}

/**
 * Ends all TCP connections whose source is this IPv4 address, so that programs learn at once that it is gone
 * (SOCK_DESTROY, sock_diag(7)). Returns how many; 0 where the kernel cannot. @throws USAGE no IPv4 address
 */
export function destroySockets(sourceAddress: string): number {
  return Math.max(0, addon().destroySockets(addressNumber(sourceAddress)));
}

function addressNumber(text: string): number {
  const address = parseAddress(text);
  if (address === undefined) throw new CzError('USAGE', `"${text}" is no IPv4 address`);
  return address;
}

const TUN_DEVICE = '/dev/net/tun';
/** Character device 10:200 (linux/Documentation/admin-guide/devices.txt), as stat(2) tells it. */
const TUN_NUMBER = (10 << 8) | 200;

/**
 * Makes /dev/net/tun where it is missing (a container of a runtime that gives none); needs MKNOD.
 * @throws TUN_MISSING
 */
export function makeTunDevice(): void {
  const native = addon();
  try {
    if (isTunDevice()) return;
    mkdirSync(dirname(TUN_DEVICE), { recursive: true, mode: 0o755 });
    succeed(native.tunDeviceMake(TUN_DEVICE), `making "${TUN_DEVICE}"`);
  } catch (cause) {
    const hint = 'give the container /dev/net/tun, or the capability MKNOD and a writable /dev';
    throw new CzError('TUN_MISSING', `there is no "${TUN_DEVICE}" and it cannot be made`, { hint, cause });
  }
}

function isTunDevice(): boolean {
  const existing = statSync(TUN_DEVICE, { throwIfNoEntry: false });
  return existing !== undefined && existing.isCharacterDevice() && existing.rdev === TUN_NUMBER;
}

/** Bits of TUNSETOFFLOAD (linux/if_tun.h); USO is both of its bits. */
export const OFFLOAD = { checksum: 0x01, tso4: 0x02, tso6: 0x04, tsoEcn: 0x08, uso: 0x60 } as const;

/** Counters since the TUN was opened; packets, except where the name says bytes. */
export interface TunStats {
  readonly readPackets: number;
  readonly readBytes: number;
  readonly writtenPackets: number;
  readonly writtenBytes: number;
  /** Dropped because the queues were full. */
  readonly droppedQueue: number;
  /** Dropped by CoDel because they waited too long. */
  readonly droppedCodel: number;
  /** Not the session's, or never permitted. */
  readonly droppedFilter: number;
  /** Their header and their length, or their virtio header, disagree. */
  readonly droppedMalformed: number;
  /** Refused by the kernel (interface down, no memory). */
  readonly droppedWrite: number;
  /** Marked instead of dropped (RFC 3168). */
  readonly markedCodel: number;
  readonly queuedBytes: number;
  /** Memory of the queues at most, while they are not idle. */
  readonly residentBytes: number;
}

const STATS = [
  ...([
    'readPackets',
    'readBytes',
    'writtenPackets',
    'writtenBytes',
    'droppedQueue',
    'droppedCodel',
  ] as const),
  ...(['droppedFilter', 'droppedMalformed', 'droppedWrite', 'markedCodel', 'queuedBytes'] as const),
  'residentBytes',
] as const satisfies readonly (keyof TunStats)[];

export type TunSide = 'laptop' | 'manager';

/** A TUN of the addon; src/tun/linux.ts makes a device of it. */
export interface TunHandle {
  readonly name: string;
  /** Returns the bits of `OFFLOAD` in force. */
  offloads(): number;
  /** Restricts the offloads to these of the granted ones. @throws errno's name */
  setOffloads(wanted: number): void;
  setSession(side: TunSide | undefined, address: string): void;
  /** Returns the bytes written from `offset` on, one record or `wanted` at most; 0: none waits. @throws errno's name */
  take(arena: Buffer, offset: number, wanted: number): number;
  /** @throws EPROTO broken framing; then nothing was written */
  write(records: Buffer): void;
  stats(): TunStats;
  /** At most once. */
  close(): void;
}

/** The system call that failed, as a code, before its errno's name. */
export type TunStep = 'device' | 'interface' | 'memory';
const STEPS: readonly TunStep[] = ['device', 'interface', 'memory'];

/** Why no TUN came to be: the step, and the errno's name as code. */
export class TunOpenError extends CzError {
  readonly step: TunStep;

  constructor(step: TunStep, result: number) {
    const name = getSystemErrorName(result);
    super(name, `opening a TUN (${step}): ${name}`);
    this.step = step;
  }
}

/**
 * Opens a TUN whose queues occupy `queueBytes` at most. `readable` is called once each time packets wait after a
 * take found none. @throws TunOpenError · ADDON_MISSING
 */
export function openTunHandle(name: string, queueBytes: number, readable: () => void): TunHandle {
  const native = addon();
  const tun = native.tunOpen(name, queueBytes, readable);
  if (isFailure(tun)) throw new TunOpenError(STEPS[tun[0]] ?? 'memory', tun[1]);
  return {
    name: native.tunName(tun),
    offloads: () => native.tunOffloads(tun),
    setOffloads: (wanted) => void succeed(native.tunSetOffloads(tun, wanted), 'setting offloads'),
    setSession: (side, address) => native.tunSetSession(tun, sideNumber(side), addressNumber(address)),
    take: (arena, offset, wanted) => succeed(native.tunTake(tun, arena, offset, wanted), 'reading the TUN'),
    write: (records) => void succeed(native.tunWrite(tun, records), 'writing to the TUN'),
    stats: () => namedStats(native.tunStats(tun)),
    close: () => native.tunClose(tun),
  };
}

function isFailure(result: NativeTun | readonly [number, number]): result is readonly [number, number] {
  return Array.isArray(result);
}

/** `enum side` of native/tun.h. */
function sideNumber(side: TunSide | undefined): number {
  if (side === undefined) return 0;
  return side === 'laptop' ? 1 : 2;
}

function namedStats(values: readonly number[]): TunStats {
  const at = (key: keyof TunStats) => values[STATS.indexOf(key)] ?? 0;
  return {
    readPackets: at('readPackets'),
    readBytes: at('readBytes'),
    writtenPackets: at('writtenPackets'),
    writtenBytes: at('writtenBytes'),
    droppedQueue: at('droppedQueue'),
    droppedCodel: at('droppedCodel'),
    droppedFilter: at('droppedFilter'),
    droppedMalformed: at('droppedMalformed'),
    droppedWrite: at('droppedWrite'),
    markedCodel: at('markedCodel'),
    queuedBytes: at('queuedBytes'),
    residentBytes: at('residentBytes'),
  };
}
