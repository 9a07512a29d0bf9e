/**
 * Picks the mechanism: systemd-resolved where the laptop's lookups go through it, else resolv.conf. Where a check after
 * apply() finds that lookups do not arrive, the first one is rolled back and the next one is tried.
 */
import { readFile } from 'node:fs/promises';
import { hasCode } from '../base/errors.js';
import { exec } from '../base/exec.js';
import type { LaptopResolver, OsResolver, OsResolverOptions, ResolverTarget } from './os-resolver.js';
import { createResolvConf } from './resolv-conf.js';
import { parseResolvConf } from './resolv-conf-text.js';
import { createResolved } from './resolved.js';

/** The addresses that systemd-resolved's own stubs answer at (systemd-resolved.service(8)). */
const STUBS = new Set(['127.0.0.53', '127.0.0.54']);
const STATUS_TIMEOUT_MS = 2000;

/** An OsResolver that is one of several until its first apply() has been checked. */
export interface ChosenResolver extends OsResolver {
  /**
   * As OsResolver.apply; `check` is then run after the first time: where it throws RESOLVER_UNUSED or DNS_LOOP, the change is rolled
   * back and the next mechanism tried. @throws RESOLVER_FAILED, RESOLVER_UNUSED: nothing is changed then
   */
  apply(target: ResolverTarget, check?: () => Promise<void>): Promise<void>;
}

/** Returns the mechanism for this laptop; nothing is changed before apply(). */
export async function chooseOsResolver(options: OsResolverOptions): Promise<ChosenResolver> {
  const plain = createResolvConf(options);
  const resolved = createResolved(options);
  const text = await readFile(options.path ?? '/etc/resolv.conf', 'utf8').catch(() => '');
  const stub = parseResolvConf(text).servers.some((server) => STUBS.has(server));
  if (stub && (await answersStatus())) return chain([resolved, plain]);
  return chain((await usesNssResolve()) && (await answersStatus()) ? [plain, resolved] : [plain]);
}

async function answersStatus(): Promise<boolean> {
  return exec(['resolvectl', '--no-pager', 'dns'], { timeoutMs: STATUS_TIMEOUT_MS }).then(
    () => true,
    () => false,
  );
}

/** nsswitch.conf(5): `hosts: … resolve …`. */
async function usesNssResolve(): Promise<boolean> {
  const text = await readFile('/etc/nsswitch.conf', 'utf8').catch(() => '');
  return /^hosts:.*\sresolve\b/m.test(text);
}

/** Returns a resolver that is the first of these that works. */
export function chain(mechanisms: readonly [OsResolver, ...OsResolver[]]): ChosenResolver {
  let [current, ...rest] = mechanisms;
  let checked = false;
  let listener: ((now: LaptopResolver) => void) | undefined;
  const applyOne = async (target: ResolverTarget, check?: () => Promise<void>) => {
    await current.apply(target);
    if (check === undefined || checked) return;
    try {
      await check();
      checked = true;
    } catch (cause) {
      await current.undo();
      throw cause;
    }
  };
  const apply = async (target: ResolverTarget, check?: () => Promise<void>): Promise<void> => {
    try {
      await applyOne(target, check);
    } catch (cause) {
      const [next, ...others] = rest;
      if (next === undefined || !isMechanismsFault(cause)) throw cause;
      [current, rest] = [next, others];
      if (listener !== undefined) current.watch(listener);
      await apply(target, check);
    }
  };
  return {
    get mechanism() {
      return current.mechanism;
    },
    read: () => current.read(),
    apply,
    watch(onChange) {
      listener = onChange;
      current.watch(onChange);
    },
    undo: () => current.undo(),
    close: () => current.close(),
  };
}

/** What another mechanism may do better. */
function isMechanismsFault(cause: unknown): boolean {
  return ['RESOLVER_UNUSED', 'RESOLVER_FAILED', 'DNS_LOOP'].some((code) => hasCode(cause, code));
}
