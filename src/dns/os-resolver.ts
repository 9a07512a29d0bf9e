/**
 * The laptop's own resolver, as cz uses it: read what it asks today, point the cluster's names (or, where it cannot
 * split, all names) at cz, notice when somebody else changes it, and put it back. One implementation by mechanism;
 * choose.ts picks. Each change's undo is in the journal before the change is made.
 */
import type { Journal } from '../base/undo.js';

/** What the laptop's resolver asks without cz. */
export interface LaptopResolver {
  /** Addresses, best first. */
  readonly servers: readonly string[];
  /** Its search list, and its own domain. */
  readonly search: readonly string[];
}

export interface ResolverTarget {
  /** Where cz answers, on port 53. */
  readonly server: string;
  /** The interface that the cluster is behind. */
  readonly interfaceName: string;
  /** Tried behind names without dots, in order: `shop.svc.cluster.local`. */
  readonly searchDomains: readonly string[];
  /** Names that end in these are asked of cz; resolvers that cannot split ask it everything. Connected ones first. */
  readonly routedDomains: readonly string[];
}

export interface OsResolver {
  /** For `cz status`. */
  readonly mechanism: 'systemd-resolved' | 'resolv.conf';
  /** Returns what the laptop asks without cz; after apply(), what it would ask. */
  read(): Promise<LaptopResolver>;
  /** Makes the laptop ask `target`; again with another one to change it. @throws RESOLVER_FAILED, rolled back */
  apply(target: ResolverTarget): Promise<void>;
  /** Calls back when the network gave the laptop other servers or domains; until close() or undo(). */
  watch(onChange: (now: LaptopResolver) => void): void;
  /** Puts the laptop's resolver back. Idempotent. */
  undo(): Promise<void>;
  /** Ends watching, changes nothing else. Idempotent. */
  close(): void;
}

export interface OsResolverOptions {
  readonly record: Journal['record'];
  /** The daemon's own folder, writable by root alone. */
  readonly runFolder: string;
  /** Default /etc/resolv.conf. */
  readonly path?: string;
}
