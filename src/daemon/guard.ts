/**
 * Starts the daemon under its guard: a /bin/sh that holds the lock, waits without Node, and when the daemon is gone
 * replays what it left in the journal. Also after a `kill -9`. Every value is a positional argument: the shell
 * parses nothing but the text below.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, readFileSync, readdirSync } from 'node:fs';
import { lstat, mkdir } from 'node:fs/promises';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CzError, codeOf, messageOf } from '../base/errors.js';
import { start } from '../base/exec.js';
import { object, text } from '../base/shape.js';
import { CONTROL_SOCKET, JOURNAL_PATH, LOG_PATH, RUN_DIR } from '../control/schema.js';
import { READY_FD } from './ready.js';

/** flock(1) gives this when another guard holds the lock (our choice; sysexits.h calls 75 a temporary failure). */
const BUSY = 75;
/** Bundles start in a tenth of a second; a machine that needs longer than this is stuck. */
const START_TIMEOUT_MS = 10_000;
/** What a daemon may say at its start, in bytes. */
const SAID_LIMIT_BYTES = 64 * 1024;
/** asm-generic/fcntl.h */
const O_CLOEXEC = 0o2_000_000;

/**
 * 1. Take the lock (descriptor 9; the daemon inherits it, so that it is held as long as either lives) and begin a
 *    new log, owned by the user who connects.
 * 2. Run the daemon; whatever signal would end the guard ends the daemon instead.
 * 3. When it is gone, undo what is left. After a clean end nothing is.
 */
const GUARD = `
undo=$1 journal=$2 socket=$3 lock=$4 log=$5 owner=$6 node=$7
shift 6
umask 077
exec 9>>"$lock" || exit 1
flock -n -E ${BUSY} 9 || exit
[ ! -e "$log" ] || mv -f "$log" "$log.1"
exec >>"$log" 2>&1
chown "$owner" "$log"
trap 'stop=1; [ -z "$pid" ] || kill -TERM "$pid"' HUP INT TERM
"$@" & pid=$!
exec ${READY_FD}>&-
[ -z "$stop" ] || kill -TERM "$pid"
while wait "$pid"; code=$?; [ "$code" -gt 128 ] && kill -0 "$pid" 2>/dev/null; do :; done
trap '' HUP INT TERM
[ -e "$journal" ] || [ -e "$socket" ] || exit 0
exec "$node" "$undo" "$journal" "$socket"
`;

export interface GuardOptions {
  /** Who may read the log. */
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Default: the bundles beside this program. */
  readonly daemon?: string;
  readonly undo?: string;
}

/**
 * Starts guard and daemon and returns when the daemon listens (`ready`), or when another guard holds the lock
 * (`busy`: its daemon is starting, running or being undone). What is started keeps none of the caller's descriptors.
 * @throws NOT_ROOT, DAEMON_FAILED and whatever code the daemon gives at its start
 */
export async function startDaemon(options: GuardOptions): Promise<'ready' | 'busy'> {
  await makeRunDir();
  closeInherited();
  const { owner } = options;
  const { daemon = bundle('daemon.js'), undo = bundle('undo.js') } = options;
  const values = [
    undo,
    JOURNAL_PATH,
    CONTROL_SOCKET,
    `${RUN_DIR}/lock`,
    LOG_PATH,
    `${owner.uid}:${owner.gid}`,
  ];
  const guard = start(['/bin/sh', '-c', GUARD, 'cz-guard', ...values, process.execPath, daemon], {
    cwd: '/',
    env: PLAIN_ENV,
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  return awaitReady(guard);
}

/**
 * Closes what this process got from its parents beyond the standard streams: guard and daemon would keep it open, and
 * whoever reads the other end would wait for them. Node's own descriptors close on exec, so those tell themselves apart.
 */
function closeInherited(): void {
  for (const name of readdirSync('/proc/self/fd').filter((fd) => Number(fd) > 2)) {
    try {
      const [, flags = ''] =
        /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${name}`, 'utf8')) ?? [];
      if ((parseInt(flags, 8) & O_CLOEXEC) === 0) closeSync(Number(name));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'EBADF') throw error; // closed meanwhile: that of readdir
    }
  }
}

/** The daemon's environment: the machine's, nothing of the caller's. */
const PLAIN_ENV = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LANG: 'C.UTF-8',
};

async function awaitReady(guard: ChildProcess): Promise<'ready' | 'busy'> {
  const timer = new AbortController();
  const { signal } = timer;
  const ended = once(guard, 'exit', { signal }).then(([code]: unknown[]) => code);
  const late = delay(START_TIMEOUT_MS, undefined, { signal }).then(() => {
    throw new CzError('TIMED_OUT', 'the daemon did not start in time', { hint: 'look at its log: cz logs' });
  });
  try {
    const said = await Promise.race([readAll(guard), late]);
    if (said.trim() === 'ready') return 'ready';
    if (said.trim() !== '') throw failureOf(said);
    const code = await Promise.race([ended, late]);
    if (code === BUSY) return 'busy';
    throw new CzError('DAEMON_FAILED', 'the daemon ended while starting', {
      hint: 'look at its log: cz logs',
    });
  } finally {
    timer.abort();
    await Promise.allSettled([ended, late]);
    guard.unref();
  }
}

/** Returns what the daemon says on its readiness descriptor, up to the end (all its holders have closed it). */
async function readAll(guard: ChildProcess): Promise<string> {
  const pipe = guard.stdio[READY_FD];
  if (!(pipe instanceof Socket)) throw new CzError('DAEMON_FAILED', 'no readiness pipe');
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of pipe) {
      if (!Buffer.isBuffer(chunk)) continue;
      size += chunk.length;
      if (size > SAID_LIMIT_BYTES) break;
      chunks.push(chunk);
    }
  } catch (error) {
    if (codeOf(error) !== 'ECONNRESET') throw error; // ended without a word
  }
  return Buffer.concat(chunks).toString();
}

const failure = object({ code: text(64), message: text(10_000) }, { hint: text(10_000) });

function failureOf(said: string): CzError {
  try {
    const { code, message, hint } = failure(JSON.parse(said));
    return new CzError(code, message, hint === undefined ? {} : { hint });
  } catch (cause) {
    return new CzError('DAEMON_FAILED', `the daemon said something else than "ready"`, { cause });
  }
}

/** @throws NOT_ROOT · RUN_DIR_UNSAFE the folder belongs to somebody else */
async function makeRunDir(): Promise<void> {
  await mkdir(RUN_DIR, { mode: 0o755 }).catch((cause: unknown) => {
    if (codeOf(cause) === 'EEXIST') return;
    throw new CzError('NOT_ROOT', `making "${RUN_DIR}": ${messageOf(cause)}`, { cause });
  });
  const { uid, mode } = await lstat(RUN_DIR);
  if (uid === process.geteuid?.() && (mode & 0o170_022) === 0o040_000) return;
  throw new CzError('RUN_DIR_UNSAFE', `"${RUN_DIR}" is no folder of this user alone`, {
    hint: `remove it: sudo rm -r ${RUN_DIR}`,
  });
}

/** Returns the path of a bundle: beside this one, or in dist/ when run from source. */
function bundle(name: string): string {
  const isSource = import.meta.url.endsWith('.ts');
  return fileURLToPath(new URL(isSource ? `../../dist/${name}` : name, import.meta.url));
}
