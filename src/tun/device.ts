/**
 * What a TUN is to the rest of cz: a source and a sink of packet records (PROTOCOL.md), whole batches at a time. One
 * implementation a platform. Nothing here looks into packets.
 */
import type { TunSide, TunStats } from '../base/addon.js';

/** What the kernel may leave undone in packets, and the far end's kernel then does (linux/if_tun.h, TUN_F_*). */
export interface Offloads {
  /** Transport checksums. */
  readonly checksum: boolean;
  /** TCP over IPv4 arrives in super-packets of up to 64 KiB. */
  readonly tso4: boolean;
  readonly tso6: boolean;
  /** Super-packets may carry congestion marks. */
  readonly tsoEcn: boolean;
  /** The same for UDP. */
  readonly uso: boolean;
}

/** Whose packets may pass, and at which end. */
export interface SessionFilter {
  readonly side: TunSide;
  /** The session's IPv4 address. */
  readonly address: string;
}

/** Bytes of the largest record: length, virtio header, the largest IPv4 packet. An arena has room for one at least. */
export const RECORD_MAX_BYTES = 4 + 10 + 65_535;

export interface TunDevice {
  /** The interface's name. */
  readonly name: string;
  /** Those in force. */
  readonly offloads: Offloads;
  /**
   * Fills the caller's arena with records from `offset` on, fairly over flows, and returns the bytes written: up to
   * `wanted`, or one record that is longer (default: all that is free). 0: none waits, and the listener will be called
   * once when some do. The arena has RECORD_MAX_BYTES free at least.
   * @throws TUN_GONE the interface was deleted
   */
  take(arena: Buffer, offset: number, wanted?: number): number;
  /** Sets who is told that packets wait; calls it soon in case some already do. */
  setReadable(listener: () => void): void;
  /**
   * Writes each record's packet after checking it; those that fail are dropped and counted. The buffer is the caller's
   * again at return. @throws MALFORMED these are not whole records; nothing was written
   */
  write(records: Buffer): void;
  /** Lets one session's packets pass; undefined, as at first: none, either way. What waits of another is dropped. */
  setSession(filter: SessionFilter | undefined): void;
  /** Restricts the offloads to those that both the kernel granted and the far end has. */
  setOffloads(wanted: Offloads): void;
  stats(): TunStats;
  /** Ends the interface, with its addresses and routes. Idempotent; after it the other methods throw TUN_CLOSED. */
  close(): void;
}
