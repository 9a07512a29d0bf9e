/**
 * The mechanism of systemd-resolved: it splits by itself. Our interface gets cz as its server and the cluster's domains
 * as routing domains (`~shop`), so only the cluster's names come to us, and the file resolv.conf is not touched. All of it
 * belongs to the interface and goes with it. resolvectl(1), systemd-resolved.service(8) "Protocols and routing".
 */
import { readFile } from 'node:fs/promises';
import { CzError, messageOf } from '../base/errors.js';
import { exec } from '../base/exec.js';
import type { UndoEntry } from '../base/undo.js';
import { openFileWatch, type FileWatch } from './file-watch.js';
import type { LaptopResolver, OsResolver, OsResolverOptions, ResolverTarget } from './os-resolver.js';
import { parseResolvConf } from './resolv-conf-text.js';

/** Where it writes the servers and domains of all links. */
const UPLINKS_PATH = '/run/systemd/resolve/resolv.conf';

/** A link may have 256 (LINK_SEARCH_DOMAINS_MAX in systemd's resolved-link.h); names in further namespaces need `svc` behind them. */
const DOMAIN_LIMIT = 250;
const COMMAND_TIMEOUT_MS = 5000;

/** Returns the mechanism; nothing is changed before apply(). */
export function createResolved(options: Pick<OsResolverOptions, 'record'>): OsResolver {
  let entry: UndoEntry | undefined;
  let target: ResolverTarget | undefined;
  let watch: FileWatch | undefined;
  const close = () => {
    watch?.close();
    watch = undefined;
  };
  const undo = async () => {
    close();
    await entry?.undo();
    [entry, target] = [undefined, undefined];
  };
  return {
    mechanism: 'systemd-resolved',
    read: () => readUplinks(target),
    async apply(wanted) {
      const { interfaceName } = wanted;
      try {
        const argv = ['resolvectl', 'revert', interfaceName];
        entry ??= await options.record('systemd-resolved', { kind: 'run', argv, okCodes: [0, 1] });
        await runAll(planResolved(wanted, target));
        target = wanted;
      } catch (cause) {
        await undo();
        throw new CzError('RESOLVER_FAILED', `telling systemd-resolved: ${messageOf(cause)}`, { cause });
      }
    },
    watch(onChange) {
      close();
      watch = openFileWatch([UPLINKS_PATH], () => void readUplinks(target).then(onChange));
    },
    undo,
    close,
  };
}

/** Returns the commands that tell systemd-resolved of `wanted`; only what differs from `before`. */
export function planResolved(wanted: ResolverTarget, before?: ResolverTarget): string[][] {
  const name = wanted.interfaceName;
  const routed = wanted.routedDomains.map((domain) => `~${domain}`);
  const domains = [...wanted.searchDomains, ...routed].slice(0, DOMAIN_LIMIT);
  const set = [
    ['resolvectl', 'dns', name, wanted.server],
    ['resolvectl', 'default-route', name, 'no'],
    ['resolvectl', 'llmnr', name, 'no'],
    ['resolvectl', 'mdns', name, 'no'],
    ['resolvectl', 'dnssec', name, 'no'],
    ['resolvectl', 'dnsovertls', name, 'no'],
  ];
  const ask = [['resolvectl', 'domain', name, ...domains]];
  if (before?.interfaceName !== name || before.server !== wanted.server) return [...set, ...ask];
  return domains.join() ===
    [...before.searchDomains, ...before.routedDomains.map((domain) => `~${domain}`)]
      .slice(0, DOMAIN_LIMIT)
      .join()
    ? []
    : ask;
}

async function runAll(commands: readonly (readonly string[])[]): Promise<void> {
  await Promise.all(commands.map((argv) => exec(argv, { timeoutMs: COMMAND_TIMEOUT_MS })));
}

/** What all links but ours have: our own server and domains are in that file as well. */
async function readUplinks(target: ResolverTarget | undefined): Promise<LaptopResolver> {
  const { servers, search } = parseResolvConf(await readFile(UPLINKS_PATH, 'utf8').catch(() => ''));
  const ours = new Set(target?.searchDomains);
  return {
    servers: servers.filter((server) => server !== target?.server && server !== '127.0.0.1'),
    search: search.filter((domain) => !ours.has(domain) && domain !== '.'),
  };
}
