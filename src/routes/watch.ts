/**
 * Tells when the laptop's addresses, routes or rules change (another Wi-Fi, a VPN that comes up), by `ip monitor`. What
 * changed is read anew by host.ts: this only says that it is time to.
 */
import type { ChildProcess } from 'node:child_process';
import { createBackoff, pause } from '../base/backoff.js';
import { codeOf } from '../base/errors.js';
import { start } from '../base/exec.js';

/** Changes are told together that come within this time (our choice: a VPN sets its routes within a few tenths). */
const DEBOUNCE_MS = 300;
const RESTART_FIRST_MS = 200;
const RESTART_MAX_MS = 10_000;

export interface HostWatchOptions {
  /** Called after changes, also after cz's own, never twice within 300 ms. */
  onChange(): void;
  readonly signal?: AbortSignal;
}

export interface HostWatch {
  /** Ends the watch; no call comes after it. Idempotent. */
  close(): void;
}

/** Starts watching. A monitor that ends is started again; on a laptop without `ip` nothing is told. */
export function openHostWatch(options: HostWatchOptions): HostWatch {
  const closing = new AbortController();
  const signal =
    options.signal === undefined ? closing.signal : AbortSignal.any([options.signal, closing.signal]);
  const tell = debounced(() => options.onChange(), signal);
  void keepMonitoring(tell, signal);
  return { close: () => closing.abort() };
}

async function keepMonitoring(tell: () => void, signal: AbortSignal): Promise<void> {
  const backoff = createBackoff(RESTART_FIRST_MS, RESTART_MAX_MS);
  while (!signal.aborted) {
    const missing = await monitor(tell, signal);
    if (missing) return;
    await pause(backoff.next(), signal);
    // What changed while nobody watched is not known.
    if (!signal.aborted) tell();
  }
}

/** Resolves when the monitor has ended: with true if there is no such program. */
function monitor(tell: () => void, signal: AbortSignal): Promise<boolean> {
  const child = start(['ip', '-4', 'monitor', 'address', 'route', 'rule'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  child.stdout?.on('data', tell);
  const stop = () => child.kill();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  return ended(child).finally(() => signal.removeEventListener('abort', stop));
}

function ended(child: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(codeOf(error) === 'ENOENT'));
    child.once('close', () => resolve(false));
  });
}

function debounced(call: () => void, signal: AbortSignal): () => void {
  let timer: NodeJS.Timeout | undefined;
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  return () => {
    if (timer !== undefined || signal.aborted) return;
    timer = setTimeout(() => {
      timer = undefined;
      call();
    }, DEBOUNCE_MS);
  };
}
