/**
 * Whether the laptop's programs really ask cz: a name that nobody else knows is looked up the way they do it
 * (getaddrinfo, so nsswitch, nscd, systemd-resolved and resolv.conf all have their say) and must arrive.
 */
import { lookup } from 'node:dns';
import { pause } from '../base/backoff.js';
import { CzError } from '../base/errors.js';
import type { Dns, Probe } from './open.js';

/** Our choice: a resolver that has just been told takes some ms; one that asks elsewhere first gives up after seconds. */
const PROBE_TIMEOUT_MS = 4000;
const ATTEMPT_PAUSE_MS = 50;

/** Resolves when a lookup has arrived and its answer came back. @throws RESOLVER_UNUSED */
export async function checkLookupsArrive(
  dns: Pick<Dns, 'openProbe'>,
  timeoutMs = PROBE_TIMEOUT_MS,
): Promise<void> {
  const ended = AbortSignal.timeout(timeoutMs);
  let arrived = false;
  while (!ended.aborted) {
    const probe = dns.openProbe();
    const found = await lookUp(probe, ended);
    arrived ||= probe.arrived;
    probe.close();
    if (found) return;
    await pause(ATTEMPT_PAUSE_MS, ended);
  }
  const seen = arrived ? 'a lookup arrived, its answer did not come back' : 'none arrived';
  throw new CzError('RESOLVER_UNUSED', `the laptop's lookups do not reach cz: ${seen}`, {
    hint: 'see what resolves names here: grep hosts: /etc/nsswitch.conf; cat /etc/resolv.conf; resolvectl status',
  });
}

/** getaddrinfo cannot be stopped: where it takes too long, its result is not waited for. */
function lookUp(probe: Probe, ended: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const giveUp = () => resolve(false);
    ended.addEventListener('abort', giveUp, { once: true });
    lookup(probe.name, { family: 4 }, (cause, address) => {
      ended.removeEventListener('abort', giveUp);
      resolve(cause === null && address === probe.address);
    });
  });
}
