/**
 * What an installer may choose, its defaults, and how it is kept: as JSON in an annotation on the StatefulSet, so
 * that an upgrade, by whomever, keeps what the first install was told. Pure.
 */
import { parseCidr } from '../base/cidr.js';
import { CzError } from '../base/errors.js';

/** Repository part of the default image; the tag is the version. */
const DEFAULT_REPOSITORY = 'cz-manager';

/** The choices of an install. */
export interface Settings {
  /** Any image reference. */
  readonly image: string;
  /** Groups whose members may connect. */
  readonly allowGroups: readonly string[];
  /** Namespaces that the manager looks into; empty: all. */
  readonly onlyNamespaces: readonly string[];
  /** Networks outside the cluster that laptops may reach through the manager (CIDRs). */
  readonly alsoRoute: readonly string[];
  /** Whether laptops may reach node addresses. */
  readonly nodeAddresses: boolean;
}

/** Choices made on the command line; what is missing is kept from the earlier install, or the default. */
export type Choices = { readonly [K in keyof Settings]?: Settings[K] | undefined };

/** A former install's settings and the version that wrote them. */
export interface Former {
  readonly version: string;
  readonly settings: Settings;
}

/** More than any setting needs; a longer annotation is not ours (our choice). */
const ANNOTATION_LIMIT = 16 * 1024;
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const IMAGE = /^[a-z0-9][A-Za-z0-9._\-/:@]{0,510}$/;
const GROUP = /^[^\s\p{C}][^\p{C}]{0,254}$/u;

/** Returns the settings of a first install of this version. */
export function defaultSettings(version: string): Settings {
  return {
    image: `${DEFAULT_REPOSITORY}:${version}`,
    allowGroups: [],
    onlyNamespaces: [],
    alsoRoute: [],
    nodeAddresses: false,
  };
}

/**
 * Returns what to install: choices first, then the former install's settings, then defaults. A kept image whose tag is
 * the former version moves to this version's tag.
 */
export function mergeSettings(version: string, choices: Choices, former: Former | undefined): Settings {
  const base = former === undefined ? defaultSettings(version) : moved(former, version);
  return {
    image: choices.image ?? base.image,
    allowGroups: choices.allowGroups ?? base.allowGroups,
    onlyNamespaces: choices.onlyNamespaces ?? base.onlyNamespaces,
    alsoRoute: choices.alsoRoute ?? base.alsoRoute,
    nodeAddresses: choices.nodeAddresses ?? base.nodeAddresses,
  };
}

function moved({ version, settings }: Former, to: string): Settings {
  const tag = `:${version}`;
  if (!settings.image.endsWith(tag) || settings.image.includes('@')) return settings;
  return { ...settings, image: `${settings.image.slice(0, -tag.length)}:${to}` };
}

/**
 * Returns the choices, checked.
 * @throws USAGE an image reference, namespace, group or network that is none
 */
export function checkChoices(choices: Choices): Choices {
  demand(choices.image, (image) => IMAGE.test(image), 'is no image reference');
  for (const name of choices.onlyNamespaces ?? []) demand(name, isNamespace, 'is no namespace name');
  for (const name of choices.allowGroups ?? []) demand(name, (text) => GROUP.test(text), 'is no group name');
  for (const net of choices.alsoRoute ?? []) demand(net, isNetwork, 'is no IPv4 network like 192.0.2.0/24');
  return choices;
}

/** Returns the name of the manager's namespace, checked. @throws USAGE */
export function checkNamespace(name: string): string {
  demand(name, isNamespace, 'is no namespace name');
  return name;
}

/** RFC 1123 label. */
function isNamespace(text: string): boolean {
  return LABEL.test(text);
}

function isNetwork(text: string): boolean {
  return parseCidr(text) !== undefined;
}

function demand(text: string | undefined, ok: (text: string) => boolean, what: string): void {
  if (text !== undefined && !ok(text)) throw new CzError('USAGE', `"${text}" ${what}`);
}

/** Returns the annotation's text. */
export function formatSettings(settings: Settings): string {
  return JSON.stringify(settings);
}

/** Returns the settings of an annotation; parts that are missing or invalid come from the defaults of `version`. */
export function parseSettings(text: string | undefined, version: string): Settings {
  const raw = parseObject(text ?? '{}');
  const base = defaultSettings(version);
  const { image, nodeAddresses } = raw;
  return {
    image: typeof image === 'string' && IMAGE.test(image) ? image : base.image,
    allowGroups: strings(raw['allowGroups'], (name) => GROUP.test(name)),
    onlyNamespaces: strings(raw['onlyNamespaces'], isNamespace),
    alsoRoute: strings(raw['alsoRoute'], isNetwork),
    nodeAddresses: nodeAddresses === true,
  };
}

interface RawSettings {
  readonly image?: unknown;
  readonly nodeAddresses?: unknown;
  readonly [key: string]: unknown;
}

function parseObject(text: string): RawSettings {
  if (text.length > ANNOTATION_LIMIT) return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function strings(value: unknown, ok: (text: string) => boolean): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((item): item is string => typeof item === 'string' && ok(item));
}
