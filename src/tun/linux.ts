/**
 * The Linux TUN: with offloads, not persistent, so that it vanishes with the process. Packets are read, queued and
 * checked in native/tun.c; here are only its errors, in words, and its life.
 */
import { OFFLOAD, openTunHandle, TunOpenError, type TunHandle } from '../base/addon.js';
import { codeOf, CzError } from '../base/errors.js';
import type { Offloads, SessionFilter, TunDevice } from './device.js';

/**
 * Our choice. Measured: with 4 MiB eight flows at 9 Gbit/s lose ten times as many packets to the bound as with this,
 * and datagrams are lost when the event loop stalls for 20 ms. Sparse flows do not wait behind it.
 */
const QUEUE_BYTES = 8 * 1024 * 1024;
/** Our choice: a few super-packets must fit. */
const QUEUE_BYTES_MIN = 512 * 1024;
const QUEUE_BYTES_MAX = 256 * 1024 * 1024;

/** What the kernel takes as a name (IFNAMSIZ is 16 with the zero), and a `%d` for a number of its choice. */
const NAME = /^(?=.{1,15}$)[\w.-]*(?:%d)?[\w.-]*$/;

export interface TunOptions {
  /** `cz0`, or `cz%d` for the next free one. */
  readonly name: string;
  /** Memory for waiting packets at most; default 8 MiB. */
  readonly queueBytes?: number;
}

/**
 * Makes a TUN, down and without addresses; nothing passes before `setSession`. The caller closes it.
 * @throws TUN_MISSING no /dev/net/tun · TUN_REFUSED root, but the container's runtime refuses the device ·
 * NOT_ROOT · TUN_BUSY the name is taken · TUN_FAILED · ADDON_MISSING
 */
export function openTun(options: TunOptions): TunDevice {
  if (!NAME.test(options.name)) throw new CzError('USAGE', `"${options.name}" is no name for an interface`);
  const bytes = Math.min(Math.max(options.queueBytes ?? QUEUE_BYTES, QUEUE_BYTES_MIN), QUEUE_BYTES_MAX);
  return new LinuxTun(options.name, bytes);
}

class LinuxTun implements TunDevice {
  readonly name: string;
  #handle: TunHandle | undefined;
  #listener: (() => void) | undefined;
  #missed = false;

  constructor(name: string, queueBytes: number) {
    this.#handle = openHandle(name, queueBytes, () => this.#readable());
    this.name = this.#handle.name;
  }

  get offloads(): Offloads {
    return offloadsOf(this.#open().offloads());
  }

  take(arena: Buffer, offset: number, wanted = arena.length): number {
    try {
      return this.#open().take(arena, offset, wanted);
    } catch (cause) {
      throw renamed(cause, ['ENODEV'], 'TUN_GONE', `"${this.name}" was deleted`);
    }
  }

  setReadable(listener: () => void): void {
    this.#listener = listener;
    if (this.#missed) queueMicrotask(() => this.#readable());
  }

  write(records: Buffer): void {
    try {
      this.#open().write(records);
    } catch (cause) {
      throw renamed(cause, ['EPROTO'], 'MALFORMED', 'packets from the wire are not whole records');
    }
  }

  setSession(filter: SessionFilter | undefined): void {
    this.#open().setSession(filter?.side, filter?.address ?? '0.0.0.0');
  }

  setOffloads(wanted: Offloads): void {
    this.#open().setOffloads(bitsOf(wanted));
  }

  stats() {
    return this.#open().stats();
  }

  close(): void {
    this.#handle?.close();
    this.#handle = undefined;
    this.#listener = undefined;
  }

  #open(): TunHandle {
    if (this.#handle === undefined) throw new CzError('TUN_CLOSED', `"${this.name}" is closed`);
    return this.#handle;
  }

  #readable(): void {
    this.#missed = this.#listener === undefined;
    this.#listener?.();
  }
}

function openHandle(name: string, queueBytes: number, readable: () => void): TunHandle {
  try {
    return openTunHandle(name, queueBytes, readable);
  } catch (error) {
    throw error instanceof TunOpenError ? inWords(error, name) : error;
  }
}

function inWords(cause: TunOpenError, name: string): CzError {
  if (cause.step === 'device') return deviceError(cause);
  if (cause.code === 'EPERM') return notRoot(cause);
  if (cause.code !== 'EBUSY') return new CzError('TUN_FAILED', `making "${name}": ${cause.code}`, { cause });
  const hint = `see who holds it: ip -d link show ${name}`;
  return new CzError('TUN_BUSY', `an interface "${name}" exists already`, { hint, cause });
}

function deviceError(cause: TunOpenError): CzError {
  if (cause.code === 'EACCES' || cause.code === 'EPERM')
    return process.getuid?.() === 0 ? forbidden(cause) : notRoot(cause);
  if (!['ENOENT', 'ENODEV', 'ENXIO'].includes(cause.code))
    return new CzError('TUN_FAILED', `opening "/dev/net/tun": ${cause.code}`, { cause });
  const hint = 'load the module (modprobe tun); in a container, give it the device /dev/net/tun';
  return new CzError('TUN_MISSING', 'opening "/dev/net/tun": no such device', { hint, cause });
}

function forbidden(cause: TunOpenError): CzError {
  const hint = 'the container runtime refuses the device: permit /dev/net/tun (character device 10:200)';
  return new CzError('TUN_REFUSED', 'opening "/dev/net/tun": not permitted, even to root', { hint, cause });
}

function notRoot(cause: TunOpenError): CzError {
  const hint = 'run as root, or with the capability NET_ADMIN';
  return new CzError('NOT_ROOT', 'making a TUN: not permitted', { hint, cause });
}

/** Returns the error under another code if its code is one of these. */
function renamed(cause: unknown, codes: readonly string[], code: string, message: string): unknown {
  return codes.includes(codeOf(cause) ?? '') ? new CzError(code, message, { cause }) : cause;
}

function offloadsOf(bits: number): Offloads {
  const has = (bit: number) => (bits & bit) === bit;
  return {
    checksum: has(OFFLOAD.checksum),
    tso4: has(OFFLOAD.tso4),
    tso6: has(OFFLOAD.tso6),
    tsoEcn: has(OFFLOAD.tsoEcn),
    uso: has(OFFLOAD.uso),
  };
}

/** The kernel takes segmentation only with checksums, and marks in super-packets only with these. */
function bitsOf(wanted: Offloads): number {
  if (!wanted.checksum) return 0;
  const tso = (wanted.tso4 ? OFFLOAD.tso4 : 0) | (wanted.tso6 ? OFFLOAD.tso6 : 0);
  const ecn = tso !== 0 && wanted.tsoEcn ? OFFLOAD.tsoEcn : 0;
  return OFFLOAD.checksum | tso | ecn | (wanted.uso ? OFFLOAD.uso : 0);
}
