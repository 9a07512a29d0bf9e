/**
 * What the manager's forwarding must do, whatever does it: packets of a session go to the networks that are
 * allowed, answers come back, and nothing else passes. Implementations are named by mechanism (nftables.ts).
 */

/** A session's interface and the address that its laptop sends from. */
export interface NatSession {
  /** The manager's TUN of the session: `cz` and a number. */
  readonly interfaceName: string;
  /** IPv4 address. */
  readonly address: string;
}

/** Where sessions may go. */
export interface Networks {
  /** Networks as CIDRs: the announced ones and the permitted targets beyond them. */
  readonly allowed: readonly string[];
  /** Addresses inside these that are forbidden nevertheless: nodes, gateways. */
  readonly forbidden: readonly string[];
  /** The resolvers of the pod's own resolv.conf: their port 53 is open, also where they are link-local or on a node. */
  readonly resolvers: readonly string[];
}

/** The interface that leads to the cluster's network. */
export interface Uplink {
  readonly interfaceName: string;
  /** Bytes: the MTU for every session's TUN too. */
  readonly mtu: number;
}

/** Forwarding for sessions. Calls may overlap; they take effect in the order in which they were made. */
export interface NatEngine {
  /**
   * Puts the rules in place, with nothing allowed, and then lets the kernel forward on the uplink. What a former
   * run left is replaced. @throws NAT_MISSING the machine can't do it · NAT_FAILED
   */
  prepare(pod: { readonly podIP: string }): Promise<Uplink>;
  /** Opens the way for a session whose interface exists, sets its MTU and brings it up. @throws NAT_FAILED, nothing is left then */
  addSession(session: NatSession): Promise<void>;
  /** Takes all of a session away; connections it had are dead from then on. Fine when it is gone already. */
  removeSession(session: NatSession): Promise<void>;
  /** Replaces where sessions may go. Connections that are open stay. @throws NAT_FAILED, then the former ones hold */
  setNetworks(networks: Networks): Promise<void>;
  /** Takes the rules away. Idempotent. */
  close(): Promise<void>;
}
