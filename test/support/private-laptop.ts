/**
 * A laptop for tests that need root's view and must not touch the machine: mount, network and process namespaces of
 * its own, an empty /run, nothing else private. Everything started in it ends with it.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { exec, start, type ExecResult } from '../../src/base/exec.js';

const ANY_CODE = Array.from({ length: 256 }, (_, code) => code);
const TIMEOUT_MS = 30_000;

export interface RunOptions {
  /** Run as this user; default root. */
  readonly uid?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface PrivateLaptop {
  /** Runs a command to its end; any exit code is an answer. */
  run(argv: readonly string[], options?: RunOptions): Promise<ExecResult>;
  /** Starts a command; standard output and error are pipes. */
  start(argv: readonly string[], options?: RunOptions): ChildProcess;
  close(): Promise<void>;
}

const ENV = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', HOME: '/root', LC_ALL: 'C.UTF-8' };

/** Opens a laptop; needs root. */
export async function openPrivateLaptop(): Promise<PrivateLaptop> {
  // the shell stays: as the first process of its namespace it reaps what the tests leave
  const script = 'mount -t tmpfs tmpfs /run && ip link set lo up && echo up && sleep infinity; exit 1';
  const unshare = ['unshare', '--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'] as const;
  const holder = start([...unshare, 'sh', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'], env: ENV });
  if (holder.stdout === null) throw new Error('no pipe');
  const [said]: unknown[] = await once(holder.stdout, 'data', { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (String(said).trim() !== 'up') throw new Error(`the private laptop did not come up: ${String(said)}`);
  const ns = `/proc/${holder.pid}/ns`;
  const enter = [`--mount=${ns}/mnt`, `--net=${ns}/net`, `--pid=${ns}/pid_for_children`];
  const inside = (
    argv: readonly string[],
    { uid, cwd = process.cwd() }: RunOptions,
  ): [string, ...string[]] => {
    const as = uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
    return ['nsenter', ...enter, `--wdns=${cwd}`, '--', ...as, ...argv];
  };
  return {
    run: (argv, options = {}) =>
      exec(inside(argv, options), {
        env: { ...ENV, ...options.env },
        okCodes: ANY_CODE,
        timeoutMs: TIMEOUT_MS,
      }),
    start: (argv, options = {}) =>
      start(inside(argv, options), { env: { ...ENV, ...options.env }, stdio: ['ignore', 'pipe', 'pipe'] }),
    async close() {
      const ended = once(holder, 'exit');
      holder.kill('SIGKILL');
      await ended;
    },
  };
}

/** Resolves when `isTrue` returns true. @throws when it has not after the deadline, saying what was awaited */
export async function eventually(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  deadlineMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
