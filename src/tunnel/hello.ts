/**
 * What the two ends say of themselves in the handshake, and the shapes that hold each to its bounds. PROTOCOL.md §2.
 */
import { parseAddress, parseCidr } from '../base/cidr.js';
import { CzError } from '../base/errors.js';
import { flag, integer, list, object, text, type Shape } from '../base/shape.js';
import { resumePoints, type ResumePoint } from './resume.js';

/** The version of PROTOCOL.md that this program speaks. */
export const PROTOCOL_VERSION = 1;

/** What an end's kernel can take of super-packets (linux/if_tun.h, TUNSETOFFLOAD). */
export interface Offloads {
  readonly checksum: boolean;
  readonly tso4: boolean;
  readonly tso6: boolean;
  readonly tsoEcn: boolean;
  readonly uso: boolean;
}

export interface LaptopHello {
  readonly versions: readonly number[];
  readonly software: string;
  /** IPv4 networks free on the laptop, most wanted first. */
  readonly addressRanges: readonly string[];
  readonly preferredAddress?: string;
  readonly offloads: Offloads;
  readonly mtuMax: number;
  /** To resume: what `link.resumePoints()` says. */
  readonly streams?: readonly ResumePoint[];
}

export interface ClusterNetworks {
  readonly services: readonly string[];
  readonly pods: readonly string[];
  readonly nodes: readonly string[];
  readonly dns: { readonly server: string; readonly clusterDomain: string };
  readonly namespaces: readonly string[];
}

export interface Welcome {
  readonly version: number;
  readonly software: string;
  readonly address: string;
  readonly mtu: number;
  readonly offloads: Offloads;
  readonly networks: ClusterNetworks;
  readonly manager: { readonly namespace: string; readonly pod: string };
  readonly streams?: readonly ResumePoint[];
}

/** Most entries of `services`, `pods` and `nodes` each (PROTOCOL.md §2: a welcome fits in one message). */
const NETWORKS_MAX = 2048;
/** Most namespaces that are named (PROTOCOL.md §2). */
const NAMESPACES_MAX = 4096;
const RANGES_MAX = 16;
const VERSIONS_MAX = 16;
/** RFC 791: every host takes 576; 65 535 is the longest IP packet. */
const MTU_MIN = 576;
const MTU_MAX = 65_535;

const LABEL = '[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?';
const label = text(63, new RegExp(`^${LABEL}$`));
const domain = text(253, new RegExp(`^${LABEL}(?:\\.${LABEL})*$`));

/** A program's version as it is shown to people: printable, short. */
const software = text(64, /^[\x21-\x7e]*$/);

const address: Shape<string> = (value, at) => checked(text(15)(value, at), at, parseAddress, 'IPv4 address');
const network: Shape<string> = (value, at) => checked(text(18)(value, at), at, parseCidr, 'IPv4 network');

const offloads: Shape<Offloads> = object({ checksum: flag, tso4: flag, tso6: flag, tsoEcn: flag, uso: flag });

const networks: Shape<ClusterNetworks> = object({
  services: list(network, NETWORKS_MAX),
  pods: list(network, NETWORKS_MAX),
  nodes: list(network, NETWORKS_MAX),
  dns: object({ server: address, clusterDomain: domain }),
  namespaces: list(label, NAMESPACES_MAX),
});

/** Returns the cluster's networks out of an event's params. @throws MALFORMED */
export function parseNetworks(value: unknown): ClusterNetworks {
  return networks(value, 'networks');
}

/** A laptop's hello. */
export const laptopHello: Shape<LaptopHello> = object(
  {
    versions: list(integer(1, 65_535), VERSIONS_MAX),
    software,
    addressRanges: list(network, RANGES_MAX),
    offloads,
    mtuMax: integer(MTU_MIN, MTU_MAX),
  },
  { preferredAddress: address, streams: resumePoints },
);

/** A manager's welcome. */
export const welcome: Shape<Welcome> = object(
  {
    version: integer(1, 65_535),
    software,
    address,
    mtu: integer(MTU_MIN, MTU_MAX),
    offloads,
    networks,
    manager: object({ namespace: label, pod: domain }),
  },
  { streams: resumePoints },
);

function checked(
  value: string,
  at: string | undefined,
  parse: (value: string) => unknown,
  what: string,
): string {
  if (parse(value) === undefined) throw new CzError('MALFORMED', `"${at ?? 'value'}" is no ${what}`);
  return value;
}
