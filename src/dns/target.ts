/**
 * What the laptop's resolver is to be told for a policy, pure: which search domains, and which domains to route to cz.
 */
import type { Cidr } from '../base/cidr.js';
import { clusterNetworks, type NamePolicy } from './names.js';
import type { ResolverTarget } from './os-resolver.js';

/** Reverse zones at most: networks that need more are left to the mechanisms that ask cz everything (our choice). */
const REVERSE_LIMIT = 64;

/** Names come from the cluster and go into a file and onto command lines: nothing but a plain domain may pass. */
const DOMAIN = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i;

/** Returns the target: connected namespaces first, since some resolvers take a limited number of domains. */
export function planTarget(o: { server: string; interfaceName: string; policy: NamePolicy }): ResolverTarget {
  const { clusterDomain, connected, namespaces, networks } = o.policy;
  const others = namespaces.filter((namespace) => !connected.includes(namespace));
  const reverse = clusterNetworks(networks).flatMap(reverseZones).slice(0, REVERSE_LIMIT);
  return {
    server: o.server,
    interfaceName: o.interfaceName,
    searchDomains: connected.map((namespace) => `${namespace}.svc.${clusterDomain}`).filter(isDomain),
    routedDomains: [clusterDomain, 'svc', ...connected, ...new Set(reverse), ...others].filter(isDomain),
  };
}

/** Returns the in-addr.arpa zones that hold exactly the network's addresses, or, past /24, the whole /24's (RFC 1035 §3.5). */
export function reverseZones(network: Cidr): string[] {
  const octets = Math.min(3, Math.max(1, Math.ceil(network.prefix / 8)));
  const size = 2 ** (32 - octets * 8);
  const count = Math.max(1, 2 ** (octets * 8 - network.prefix));
  const first = Math.floor(network.base / size);
  return Array.from({ length: count }, (_, index) => {
    const labels = Array.from({ length: octets }, (_, place) => ((first + index) >>> (8 * place)) & 255);
    return `${labels.join('.')}.in-addr.arpa`;
  });
}

function isDomain(text: string): boolean {
  return DOMAIN.test(text) && !text.includes('..');
}
