/**
 * The policy, pure: who answers a question. The cluster (with the full names to ask for, in order), the laptop's own
 * resolver ("outside"), or nobody (a negative answer made here). DESIGN decision 8 says why: `svc.ns` for every
 * namespace, bare `svc` for the connected ones, and everything that was the laptop's stays the laptop's.
 */
import { holds, parseCidr, type Cidr } from '../base/cidr.js';
import {
  CLASS_IN,
  isWithin,
  labelsOf,
  lowerName,
  nameOfLabels,
  parseName,
  ROOT,
  type WireName,
} from './wire.js';
import { isPublicTld } from './tlds.js';

export interface NamePolicy {
  /** The cluster's own domain, `cluster.local` for most. */
  readonly clusterDomain: string;
  /** Every namespace of the cluster, as far as known. */
  readonly namespaces: readonly string[];
  /** Namespaces whose Services answer to their bare names, first one first. */
  readonly connected: readonly string[];
  /** The cluster's IPv4 networks: reverse lookups of their addresses are the cluster's. */
  readonly networks: readonly string[];
  /** `search` and `domain` of the laptop's own resolver. */
  readonly laptopDomains: readonly string[];
}

export type Route =
  | { readonly kind: 'outside' }
  | { readonly kind: 'negative' }
  | {
      readonly kind: 'cluster';
      /** Full names in small letters; the first that exists is the answer. */
      readonly candidates: readonly WireName[];
      /** Services whose names the candidates lie below: without them the candidates need not be asked for. */
      readonly parents: readonly (WireName | undefined)[];
      /** Who answers when none of them exists. */
      readonly otherwise: 'outside' | 'negative';
      /** What an unknown name gets while the cluster cannot be asked. */
      readonly whenLost: 'outside' | 'failure';
    };

export interface Names {
  /** Returns who answers; `name` in small letters. */
  classify(name: WireName, type: number, klass: number): Route;
  /** Namespaces that share their name with a public or an own domain of the laptop: the cluster is asked first. */
  readonly shared: readonly string[];
  /** The cluster's domain on the wire, small letters. */
  readonly clusterZone: WireName;
}

/** Types that ask about zones, not hosts: for names without a dot they are never the cluster's (NS, SOA, DS, DNSKEY). */
const ZONE_TYPES = new Set([2, 6, 43, 48]);
/** A DNS label of letters, digits and inner hyphens (RFC 1123 §2.1): what Kubernetes lets a Service or namespace be called. */
const SERVICE_NAME = /^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
const OUTSIDE: Route = { kind: 'outside' };
const NEGATIVE: Route = { kind: 'negative' };
/** What nearly every cluster is called. */
const DEFAULT_ZONE: WireName = '\x07cluster\x05local\0';
const REVERSE_ZONE: WireName = '\x07in-addr\x04arpa\0';

/** Returns the policy's judge. Namespaces, domains and networks that are none, or claim too much, are left out. */
export function createNames(policy: NamePolicy): Names {
  const clusterZone = zoneOfCluster(policy.clusterDomain);
  const context: Context = {
    clusterZone,
    serviceZone: `\x03svc${clusterZone}`,
    namespaces: new Set(policy.namespaces.filter((name) => SERVICE_NAME.test(name))),
    connected: policy.connected.filter((name) => SERVICE_NAME.test(name)),
    networks: clusterNetworks(policy.networks),
    laptopZones: policy.laptopDomains.flatMap((domain) => lowerName(parseName(domain) ?? '') || []),
  };
  return {
    clusterZone,
    shared: [...context.namespaces].filter((namespace) => isShared(context, namespace)),
    classify: (name, type, klass) => (klass === CLASS_IN ? classify(context, name, type) : OUTSIDE),
  };
}

/**
 * Returns the IPv4 networks among these that a cluster may have; the names of a network shorter than /8 are not all the
 * cluster's, whatever it says (our choice: 10.0.0.0/8 is the largest private one, RFC 1918 §3).
 */
export function clusterNetworks(networks: readonly string[]): Cidr[] {
  return networks.flatMap((network) => parseCidr(network) ?? []).filter(({ prefix }) => prefix >= 8);
}

/** The root or a public top-level domain is nobody's cluster: it would take the laptop's names along. */
function zoneOfCluster(domain: string): WireName {
  const zone = lowerName(parseName(domain) ?? ROOT);
  const [label = '', ...above] = labelsOf(zone);
  return label === '' || (above.length === 0 && isPublicTld(label)) ? DEFAULT_ZONE : zone;
}

interface Context {
  readonly clusterZone: WireName;
  readonly serviceZone: WireName;
  readonly namespaces: ReadonlySet<string>;
  readonly connected: readonly string[];
  readonly networks: readonly Cidr[];
  readonly laptopZones: readonly WireName[];
}

function classify(context: Context, name: WireName, type: number): Route {
  if (name.endsWith(REVERSE_ZONE)) return classifyReverse(context, name);
  const labels = labelsOf(name);
  const route = isWithin(name, context.clusterZone)
    ? toCluster(context, [name])
    : classifyShort(context, name, labels, type);
  if (route.kind !== 'cluster' || labels[0] !== 'wpad') return route;
  return route.otherwise === 'outside' ? OUTSIDE : NEGATIVE;
}

/** Names that leave out the cluster's domain, or `svc` as well, or the namespace too. */
function classifyShort(context: Context, name: WireName, labels: string[], type: number): Route {
  const last = labels.at(-1);
  if (last === undefined) return OUTSIDE;
  if (labels.length === 1) return classifyBare(context, last, type);
  if (context.laptopZones.some((zone) => labelsOf(zone).length > 1 && isWithin(name, zone))) return OUTSIDE;
  const inNamespace = context.namespaces.has(last) ? [join(name, context.serviceZone)] : [];
  if (last === 'svc' || (last === 'pod' && labels.length === 3)) {
    return toCluster(context, [join(name, context.clusterZone), ...inNamespace]);
  }
  if (inNamespace.length === 0) return OUTSIDE;
  if (!isShared(context, last)) return toCluster(context, inNamespace);
  return toCluster(context, inNamespace, 'outside', 'outside');
}

function classifyBare(context: Context, label: string, type: number): Route {
  if (ZONE_TYPES.has(type) || !SERVICE_NAME.test(label) || label === 'localhost') return OUTSIDE;
  const candidates = context.connected.flatMap((namespace) => {
    const name = nameOfLabels([label, namespace]);
    return (name && join(name, context.serviceZone)) ?? [];
  });
  return candidates.length === 0 ? OUTSIDE : toCluster(context, candidates, 'outside', 'failure');
}

function classifyReverse(context: Context, name: WireName): Route {
  const labels = labelsOf(name);
  const octets = labels.slice(0, -2).map((label) => (/^(0|[1-9]\d{0,2})$/.test(label) ? Number(label) : 256));
  if (octets.length !== 4 || octets.some((octet) => octet > 255)) return OUTSIDE;
  const address = octets.reduceRight((sum, octet) => sum * 256 + octet, 0);
  return context.networks.some((network) => holds(network, address)) ? toCluster(context, [name]) : OUTSIDE;
}

function isShared(context: Context, namespace: string): boolean {
  const zone = nameOfLabels([namespace]);
  return isPublicTld(namespace) || context.laptopZones.some((own) => own === zone);
}

function toCluster(
  context: Context,
  candidates: readonly (WireName | undefined)[],
  otherwise: 'outside' | 'negative' = 'negative',
  whenLost: 'outside' | 'failure' = 'failure',
): Route {
  const fitting = candidates.filter((name) => name !== undefined).filter((name) => canExist(context, name));
  if (fitting.length === 0) return otherwise === 'outside' ? OUTSIDE : NEGATIVE;
  const parents = fitting.map((name) => serviceAbove(context, name));
  return { kind: 'cluster', candidates: fitting, parents, otherwise, whenLost };
}

/**
 * Whether a name below `svc` has a form that Kubernetes gives: `web.shop`, `pod-0.web.shop`, `_http._tcp.web.shop`. Search
 * lists put outside names there (`www.example.com.shop.svc…`): those must not travel.
 */
function canExist(context: Context, name: WireName): boolean {
  const before = labelsBelowServices(context, name);
  if (before === undefined || before.length < 4) return true;
  return before.length === 4 && before.slice(0, 2).every((label) => label.startsWith('_'));
}

/** For `pod-0.web.shop.svc…` the Service: where it is unknown, so is all below it (RFC 8020), be it `example.com.shop.svc…`. */
function serviceAbove(context: Context, name: WireName): WireName | undefined {
  const before = labelsBelowServices(context, name);
  return before?.length === 3 ? name.slice(1 + name.charCodeAt(0)) : undefined;
}

function labelsBelowServices(context: Context, name: WireName): string[] | undefined {
  return isWithin(name, context.serviceZone)
    ? labelsOf(name.slice(0, -context.serviceZone.length) + '\0')
    : undefined;
}

/** Returns `name` below `zone`, or undefined where that is too long for a name. */
function join(name: WireName, zone: WireName): WireName | undefined {
  const joined = name.slice(0, -1) + zone;
  return joined.length > 255 ? undefined : joined;
}
