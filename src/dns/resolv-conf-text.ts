/**
 * The text of resolv.conf, pure: read it as glibc does, and write ours. resolv.conf(5).
 */
import { isIP } from 'node:net';
import type { LaptopResolver, ResolverTarget } from './os-resolver.js';

/** How every file of ours begins; undo actions and clean-up look for it. */
export const MARKER = '# cz ';

/** glibc looks at three servers (MAXNS); before 2.26 at six search domains of 256 characters together. */
const SERVER_LIMIT = 3;
const SEARCH_LIMIT = 6;
const SEARCH_CHARACTERS_LIMIT = 256;

export interface ResolvConf extends LaptopResolver {
  /** Lines that are kept as they are: options, sortlist. */
  readonly kept: readonly string[];
}

/** Returns what a resolv.conf says. The last `search` or `domain` line counts; without servers it is this machine. */
export function parseResolvConf(text: string): ResolvConf {
  const servers: string[] = [];
  const kept: string[] = [];
  let search: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    const [value] = values;
    if (keyword === 'nameserver' && value !== undefined && isIP(value) !== 0) servers.push(value);
    if (keyword === 'search') search = values.map(withoutLastDot);
    if (keyword === 'domain' && value !== undefined) search = [withoutLastDot(value)];
    if (keyword === 'options' || keyword === 'sortlist') kept.push(line.trim());
  }
  return {
    servers: servers.length === 0 ? ['127.0.0.1'] : servers.slice(0, SERVER_LIMIT),
    search: search.filter((domain) => domain !== ''),
    kept,
  };
}

/** Returns our resolv.conf: cz alone, its search domains as far as they fit before the laptop's own. */
export function formatResolvConf(target: ResolverTarget, before: ResolvConf, howToUndo: string): string {
  const search = joinSearch(target.searchDomains, before.search);
  return [
    `${MARKER}wrote this: names of the cluster are answered by it, all others as before (${before.servers.join(', ')}).`,
    `# By hand: ${howToUndo}`,
    `nameserver ${target.server}`,
    ...(search.length === 0 ? [] : [`search ${search.join(' ')}`]),
    ...before.kept,
    '',
  ].join('\n');
}

/** Ours first, so that the bare name of a Service is not caught by a wildcard of the laptop's domain; none of the laptop's is lost. */
function joinSearch(ours: readonly string[], own: readonly string[]): string[] {
  for (let count = Math.min(ours.length, SEARCH_LIMIT - own.length); count > 0; count--) {
    const joined = [...ours.slice(0, count), ...own];
    if (joined.join(' ').length <= SEARCH_CHARACTERS_LIMIT) return joined;
  }
  return [...own];
}

function withoutLastDot(domain: string): string {
  return domain.replace(/\.$/, '');
}
