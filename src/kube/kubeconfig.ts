/**
 * Finds, reads and merges kubeconfig files by kubectl's rules, as the invoker: `--kubeconfig`, else the files of
 * KUBECONFIG, else `~/.kube/config`. Of two entries with one name the first file's counts, whole. Relative paths
 * inside a file are relative to its folder. Reads no certificate and runs no plugin.
 * https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
 */
import { delimiter, dirname, join, resolve } from 'node:path';
import { CzError, hasCode, messageOf } from '../base/errors.js';
import type { Invoker } from '../base/invoker.js';
import { readFileAs } from '../base/run-as.js';
import { fields, listOf, optionalText, textList, type Fields } from './shape.js';
import { parseYaml } from './yaml.js';

/** A named entry of a kubeconfig: its raw fields and the file that it comes from. */
export interface Entry {
  readonly fields: Fields;
  readonly file: string;
}

/** All files merged. */
export interface Kubeconfig {
  readonly files: readonly string[];
  readonly currentContext: string | undefined;
  readonly contexts: ReadonlyMap<string, Entry>;
  readonly clusters: ReadonlyMap<string, Entry>;
  readonly users: ReadonlyMap<string, Entry>;
}

/** Files taken from one KUBECONFIG (our choice: people with a file per cluster have some dozens). */
const FILES_LIMIT = 256;

/**
 * Returns the merged kubeconfig of the invoker, or undefined when none is named and the default one is not there.
 * @throws KUBECONFIG_MISSING a named file does not exist · KUBECONFIG_UNREADABLE · KUBECONFIG_INVALID
 */
export async function readKubeconfig(invoker: Invoker, explicit?: string): Promise<Kubeconfig | undefined> {
  const paths = kubeconfigPaths(invoker, explicit);
  const parts = await Promise.all(paths.map((path) => readOne(invoker, path)));
  const found = parts.filter((part) => part !== undefined);
  if (found.length > 0) return merged(found);
  if (explicit === undefined && !invoker.env['KUBECONFIG']) return undefined;
  throw new CzError('KUBECONFIG_MISSING', `kubeconfig ${paths.map(quoted).join(', ')} does not exist`, {
    hint: explicit === undefined ? 'KUBECONFIG names it; correct it or unset it' : 'check --kubeconfig',
  });
}

/** Returns the kubeconfig files to read, absolute, in the order in which they count. */
export function kubeconfigPaths(invoker: Invoker, explicit?: string): string[] {
  const base = invoker.env['PWD'] ?? invoker.home;
  if (explicit !== undefined) return [resolve(base, explicit)];
  const named = (invoker.env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  if (named.length === 0) return [join(invoker.home, '.kube', 'config')];
  return [...new Set(named.map((path) => resolve(base, path)))].slice(0, FILES_LIMIT);
}

async function readOne(invoker: Invoker, file: string): Promise<Kubeconfig | undefined> {
  const text = await readFileAs(invoker, file).catch((cause: unknown) => {
    if (hasCode(cause, 'READ_MISSING')) return undefined;
    throw new CzError('KUBECONFIG_UNREADABLE', `kubeconfig: ${messageOf(cause)}`, {
      cause,
      hint: `it must be readable by "${invoker.user}": ls -l ${file}`,
    });
  });
  return text === undefined ? undefined : parseKubeconfig(text.toString('utf8'), file);
}

/** Returns the content of one kubeconfig file. @throws KUBECONFIG_INVALID */
export async function parseKubeconfig(text: string, file: string): Promise<Kubeconfig> {
  try {
    const root = fields((await parseYaml(text)) ?? {}, 'the file');
    return {
      files: [file],
      currentContext: optionalText(root, 'current-context') || undefined,
      contexts: entries(root, 'contexts', 'context', file),
      clusters: entries(root, 'clusters', 'cluster', file),
      users: entries(root, 'users', 'user', file),
    };
  } catch (cause) {
    throw invalidFile(file, cause);
  }
}

function entries(root: Fields, list: string, key: string, file: string): Map<string, Entry> {
  const found = new Map<string, Entry>();
  for (const item of listOf(root, list)) {
    const entry = fields(item, list);
    const name = optionalText(entry, 'name') ?? '';
    if (!found.has(name)) found.set(name, { fields: fields(entry[key] ?? {}, `${list} "${name}"`), file });
  }
  return found;
}

/** Returns the error for a file whose content is no kubeconfig. */
export function invalidFile(file: string, cause: unknown): CzError {
  return new CzError('KUBECONFIG_INVALID', `kubeconfig "${file}": ${messageOf(cause)}`, {
    cause,
    hint: 'kubectl config view shows what kubectl makes of it',
  });
}

/** Returns the files as one; of entries with one name, and of current contexts, the first file's counts. */
export function merged(parts: readonly Kubeconfig[]): Kubeconfig {
  const firstOf = (pick: (part: Kubeconfig) => ReadonlyMap<string, Entry>) =>
    new Map(parts.toReversed().flatMap((part) => Array.from(pick(part))));
  return {
    files: parts.flatMap((part) => part.files),
    currentContext: parts.map((part) => part.currentContext).find((name) => name !== undefined),
    contexts: firstOf((part) => part.contexts),
    clusters: firstOf((part) => part.clusters),
    users: firstOf((part) => part.users),
  };
}

/** What a context names. */
export interface Selected {
  readonly context: string;
  readonly namespace: string;
  readonly clusterName: string;
  readonly cluster: Entry;
  readonly userName: string;
  readonly user: Entry;
}

/**
 * Returns what the context (default: the current one) names. A user that is named and not there is refused
 * (kubectl would go on as nobody); a context that names none has none (`kubectl proxy` needs none).
 * @throws CONTEXT_UNKNOWN no current context, or no such one · KUBECONFIG_INVALID it names what is not there
 */
export function selectContext(config: Kubeconfig, wanted?: string): Selected {
  const context = wanted ?? config.currentContext;
  if (context === undefined) throw noContext(config);
  const entry = config.contexts.get(context);
  if (entry === undefined) throw unknownContext(config, context, wanted === undefined);
  const named = (list: ReadonlyMap<string, Entry>, key: 'cluster' | 'user') => {
    const name = textOf(entry, key);
    const nobody = key === 'user' && name === '' ? { fields: {}, file: entry.file } : undefined;
    const found = list.get(name) ?? nobody;
    if (found !== undefined) return { name, found };
    throw invalidFile(entry.file, `context "${context}" names the ${key} "${name}", which is not there`);
  };
  const cluster = named(config.clusters, 'cluster');
  const user = named(config.users, 'user');
  return {
    context,
    namespace: textOf(entry, 'namespace') || 'default',
    clusterName: cluster.name,
    cluster: cluster.found,
    userName: user.name,
    user: user.found,
  };
}

function textOf(entry: Entry, key: string): string {
  try {
    return optionalText(entry.fields, key) ?? '';
  } catch (cause) {
    throw invalidFile(entry.file, cause);
  }
}

function noContext(config: Kubeconfig): CzError {
  const names = [...config.contexts.keys()].slice(0, 8).map(quoted).join(', ');
  return new CzError('CONTEXT_UNKNOWN', 'the kubeconfig has no current context', {
    hint: names === '' ? 'it has no contexts at all' : `choose one with --context: ${names}`,
  });
}

function unknownContext(config: Kubeconfig, context: string, current: boolean): CzError {
  const near = nearest(context, [...config.contexts.keys()])
    .map(quoted)
    .join(', ');
  const what = current ? 'the current context' : 'the context';
  return new CzError('CONTEXT_UNKNOWN', `${what} "${context}" is not in the kubeconfig`, {
    hint: near === '' ? 'it has no contexts at all' : `there are: ${near}`,
  });
}

/** Returns the names closest to what was typed, nearest first: those that contain it, then by edit distance. */
export function nearest(typed: string, names: readonly string[], count = 5): string[] {
  const rank = (name: string) => (name.includes(typed) ? 0 : distance(typed, name));
  return names
    .map((name) => ({ name, rank: rank(name) }))
    .sort((a, b) => a.rank - b.rank)
    .slice(0, count)
    .map(({ name }) => name);
}

/** Levenshtein's distance; names are cut at 64 characters. */
function distance(a: string, b: string): number {
  const [left, right] = [a.slice(0, 64), b.slice(0, 64)];
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const change = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

/** Returns a path of an entry, absolute: relative ones are relative to the entry's file. */
export function pathIn(entry: Entry, path: string): string {
  return resolve(dirname(entry.file), path);
}

/** Returns the strings of a list field of an entry, none when it is missing. */
export function textsIn(entry: Entry, key: string): string[] {
  return textList(entry.fields, key);
}

function quoted(text: string): string {
  return `"${text}"`;
}
