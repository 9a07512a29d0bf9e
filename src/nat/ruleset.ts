/**
 * The text of the manager's nftables rules. Pure. One table: `raw` drops forged sources, `forward` lets pass what a
 * session opened and what answers it, `outbound` decides about new connections, `input` shuts the manager's own
 * ports, `postrouting` masquerades. nft(8).
 *
 * A connection belongs to a session by its conntrack mark, which is never given twice: a successor with the same
 * address or interface gets nothing of its former holder's, and needs no conntrack entry deleted.
 */
import {
  cidr,
  contains,
  formatAddress,
  formatCidr,
  merge,
  overlaps,
  parseAddress,
  parseCidr,
} from '../base/cidr.js';
import type { NatSession, Networks } from './engine.js';

/** The upper byte of every session's mark, and what selects it. Our choice; the lower 24 bits number the sessions. */
export const MARK_TAG = 0xc2000000;
export const MARK_MASK = 0xff000000;
/**
 * Source ports after masquerading. From 16384 on, so that no session can take the tuple of a connection to one of the
 * manager's own listening ports (all below); a laptop's usual ports (32768 …) stay what they are.
 */
const PORTS = '16384-65535';
/** Never forwarded to: "this" network, loopback, link-local, multicast, reserved and broadcast. RFC 6890. */
export const NEVER = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'] as const;
const LINK_LOCAL = cidr('169.254.0.0/16');

/** Returns the rules with empty sets. What a former run left of the table is replaced in the same transaction. */
export function formatTable(): string {
  return `table inet cz
delete table inet cz
table inet cz {
  set sources { type ifname . ipv4_addr; }
  set owners { type ifname . mark; }
  map marks { type ifname : mark; }
  set allowed { type ipv4_addr; flags interval; }
  set forbidden { type ipv4_addr; }
  set resolvers { type ipv4_addr; }

  chain raw {
    type filter hook prerouting priority raw; policy accept;
    iifname "cz*" meta nfproto ipv6 drop
    iifname "cz*" iifname . ip saddr != @sources drop
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "cz*" goto refuse
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    iifname . ct mark @owners accept
    oifname . ct mark @owners ct state established,related accept
    iifname "cz*" jump outbound
  }
  chain outbound {
    ct state invalid drop
    tcp flags & (fin | syn | rst | ack) != syn reject with tcp reset
    ct state != new drop
    oifname "cz*" goto refuse
    ip daddr @resolvers meta l4proto { tcp, udp } th dport 53 goto permit
    ip daddr { ${NEVER.join(', ')} } goto refuse
    ip daddr @forbidden goto refuse
    ip daddr != @allowed goto refuse
    meta l4proto { tcp, udp } goto permit
    icmp type echo-request goto permit
    goto refuse
  }
  chain permit {
    ct mark set iifname map @marks accept
  }
  chain refuse {
    reject with icmpx admin-prohibited
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ct mark & ${hex(MARK_MASK)} != ${hex(MARK_TAG)} return
    meta l4proto { tcp, udp } masquerade to :${PORTS}
    masquerade
  }
}
`;
}

/** Returns the command that takes the table away, or does nothing where there is none. */
export function formatRemoval(): string {
  return 'table inet cz\ndelete table inet cz\n';
}

/** Returns the commands that let a session in under its mark, or (`delete`) out again. */
export function formatSession(
  verb: 'add' | 'delete',
  { interfaceName, address }: NatSession,
  mark: number,
): string {
  return [
    `${verb} element inet cz sources { "${interfaceName}" . ${address} }`,
    `${verb} element inet cz owners { "${interfaceName}" . ${hex(mark)} }`,
    `${verb} element inet cz marks { "${interfaceName}" : ${hex(mark)} }`,
    '',
  ].join('\n');
}

/** Networks in the form that the sets take: valid, ascending, none inside another. */
export interface Elements {
  readonly allowed: readonly string[];
  readonly forbidden: readonly string[];
  readonly resolvers: readonly string[];
}

/** What the sets hold at first. */
export const NO_ELEMENTS: Elements = { allowed: [], forbidden: [], resolvers: [] };

/** Returns the networks as set elements; what no set may hold (no IPv4, within NEVER, all of it) is left out. */
export function elementsOf(networks: Networks): Elements {
  const never = NEVER.map(cidr);
  const allowed = networks.allowed
    .flatMap((text) => parseCidr(text) ?? [])
    .filter((network) => !never.some((other) => overlaps(other, network)));
  return {
    allowed: merge(allowed).map(formatCidr),
    forbidden: addresses(networks.forbidden),
    resolvers: addresses(networks.resolvers).filter(mayResolve),
  };
}

function addresses(texts: readonly string[]): string[] {
  const numbers = new Set(texts.flatMap((text) => parseAddress(text) ?? []));
  return [...numbers].sort((a, b) => a - b).map(formatAddress);
}

/** A resolver on the node may be link-local (node-local caches are); elsewhere it is a unicast address. */
function mayResolve(address: string): boolean {
  const own = cidr(address);
  return contains(LINK_LOCAL, own) || !NEVER.some((never) => contains(cidr(never), own));
}

/** Returns the commands from one state of the sets to the next, empty if nothing differs: only what differs. */
export function formatElements(before: Elements, after: Elements): string {
  const sets = ['allowed', 'forbidden', 'resolvers'] as const;
  const lines = (verb: 'add' | 'delete', from: Elements, to: Elements) =>
    sets.flatMap((set) => {
      const kept = new Set(to[set]);
      const differing = from[set].filter((element) => !kept.has(element));
      return differing.length === 0 ? [] : [`${verb} element inet cz ${set} { ${differing.join(', ')} }`];
    });
  return [...lines('delete', before, after), ...lines('add', after, before)]
    .map((line) => `${line}\n`)
    .join('');
}

function hex(mark: number): string {
  return `0x${mark.toString(16).padStart(8, '0')}`;
}
