/**
 * Who called cz: the user behind sudo, with the environment that sudo took away. sudo names the user in SUDO_UID;
 * what the shell had set (KUBECONFIG, AWS_PROFILE, PATH …) still stands in the environment of the sudo process
 * itself, an ancestor of ours: `/proc/PID/environ`, after `/proc/PID/exe` has shown that it really is sudo.
 */
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { codeOf } from './errors.js';
import { exec } from './exec.js';

/** A user, and the environment that user's programs get. */
export interface Invoker {
  readonly uid: number;
  readonly gid: number;
  readonly user: string;
  readonly home: string;
  readonly env: Readonly<Record<string, string>>;
}

type Env = Readonly<Record<string, string | undefined>>;

/** What is known of a process; `/proc` in the program, a table in the tests. */
export interface ProcessTable {
  /** Returns the parent and the real uid, or undefined for a process that is gone. */
  parentOf(pid: number): { readonly ppid: number; readonly uid: number } | undefined;
  /** Returns whether the process runs a set-user-id sudo that belongs to root. */
  isSudo(pid: number): boolean;
  /** Returns the environment that the process was started with. */
  environOf(pid: number): Record<string, string> | undefined;
}

export interface InvokerOptions {
  /** This process's environment. */
  readonly env: Env;
  readonly uid?: number;
  readonly gid?: number;
  readonly pid?: number;
  readonly cwd?: string;
  readonly processes?: ProcessTable;
}

/** Ancestors looked at (our choice: far deeper than any shell in a shell). */
const DEPTH_LIMIT = 64;

/** Variables that sudo sets for the command; the user's own values are the right ones. */
const SET_BY_SUDO = /^(?:PATH|HOME|MAIL|SHELL|LOGNAME|USER|USERNAME|SUDO_.*)$/;

/** Returns who called: the user behind sudo, or the user of this process. */
export async function findInvoker(options: InvokerOptions): Promise<Invoker> {
  const own = { uid: options.uid ?? process.getuid?.() ?? 0, gid: options.gid ?? process.getgid?.() ?? 0 };
  const sudoUser = own.uid === 0 ? sudoUserOf(options.env) : undefined;
  if (sudoUser === undefined) return complete(own, defined(options.env), options);
  const processes = options.processes ?? procTable;
  const chain = ancestorsOf(options.pid ?? process.pid, processes);
  const sudo = outermostSudo(chain, sudoUser.uid, processes);
  const environ = sudo === undefined ? undefined : processes.environOf(sudo);
  const added = addedSince(options.env, chain[1] !== undefined && processes.isSudo(chain[1].pid));
  return complete(sudoUser, { ...environ, ...added }, options);
}

interface Identity {
  readonly uid: number;
  readonly gid: number;
}

function sudoUserOf(env: Env): Identity | undefined {
  const [uid, gid] = [idOf(env['SUDO_UID']), idOf(env['SUDO_GID'])];
  if (uid === undefined || gid === undefined || uid === 0) return undefined;
  return { uid, gid };
}

function idOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

interface Ancestor {
  readonly pid: number;
  readonly uid: number;
}

/** Returns this process and its ancestors, nearest first. */
function ancestorsOf(pid: number, processes: ProcessTable): Ancestor[] {
  const chain: Ancestor[] = [];
  for (let next = pid; next > 0 && chain.length < DEPTH_LIMIT;) {
    const found = processes.parentOf(next);
    if (found === undefined) break;
    chain.push({ pid: next, uid: found.uid });
    next = found.ppid;
  }
  return chain;
}

/**
 * Returns the sudo that this user called, the outermost where there are several (with `use_pty` a monitor stands
 * between sudo and its command): the last one in the chain that has only root's processes between itself and us.
 */
function outermostSudo(chain: readonly Ancestor[], uid: number, processes: ProcessTable): number | undefined {
  const sudos = chain.flatMap(({ pid }, index) => (processes.isSudo(pid) ? [{ pid, index }] : []));
  const calledByUser = sudos.filter(({ index }) => chain[index + 1]?.uid === uid);
  return (calledByUser.at(-1) ?? sudos[0])?.pid;
}

/**
 * Returns what was set on the way: `sudo KUBECONFIG=… cz` puts the variable into our environment alone. Behind a
 * root shell (`sudo -i`) only KUBECONFIG counts: the rest is root's.
 */
function addedSince(env: Env, directly: boolean): Record<string, string> {
  const entries = Object.entries(defined(env)).filter(([name]) =>
    directly ? !SET_BY_SUDO.test(name) : name === 'KUBECONFIG',
  );
  return Object.fromEntries(entries);
}

async function complete(
  who: Identity,
  env: Record<string, string>,
  options: InvokerOptions,
): Promise<Invoker> {
  const account = await accountOf(who.uid);
  const user = account?.user ?? env['USER'] ?? String(who.uid);
  const home = absolute(env['HOME']) ?? account?.home ?? '/';
  const PWD = options.cwd ?? safeCwd();
  const PATH = env['PATH'] ?? options.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin';
  return { ...who, user, home, env: { ...env, HOME: home, USER: env['USER'] ?? user, PATH, PWD } };
}

function absolute(path: string | undefined): string | undefined {
  return path?.startsWith('/') === true ? path : undefined;
}

function safeCwd(): string {
  try {
    return process.cwd();
  } catch {
    return '/';
  }
}

function defined(env: Env): Record<string, string> {
  return Object.fromEntries(Object.entries(env).flatMap(([k, v]) => (v === undefined ? [] : [[k, v]])));
}

interface Account {
  readonly user: string;
  readonly home: string;
}

/** Returns name and home from /etc/passwd, else from the name service (`getent`), else undefined. passwd(5) */
async function accountOf(uid: number): Promise<Account | undefined> {
  const local = parsePasswd(readText('/etc/passwd') ?? '', uid);
  if (local !== undefined) return local;
  const answer = await exec(['getent', 'passwd', String(uid)], { okCodes: [0, 2] }).catch(() => undefined);
  return parsePasswd(answer?.stdout ?? '', uid);
}

/** Returns the account with this uid out of passwd lines. passwd(5) */
export function parsePasswd(text: string, uid: number): Account | undefined {
  for (const line of text.split('\n')) {
    const [user, , id, , , home] = line.split(':');
    if (user && home?.startsWith('/') === true && id === String(uid)) return { user, home };
  }
  return undefined;
}

/** Returns the variables of a NUL-separated environment block; anything that is no `NAME=value` is left out. */
export function parseEnviron(block: string): Record<string, string> {
  const entries = block.split('\0').flatMap((entry): [string, string][] => {
    const at = entry.indexOf('=');
    return at > 0 ? [[entry.slice(0, at), entry.slice(at + 1)]] : [];
  });
  return Object.fromEntries(entries.reverse()); // the first of a name counts, as getenv(3) finds it
}

/** The real process table. proc(5) */
const procTable: ProcessTable = {
  parentOf(pid) {
    const status = readText(`/proc/${pid}/status`);
    const ppid = /^PPid:\s+(\d+)$/m.exec(status ?? '')?.[1];
    const uid = /^Uid:\s+(\d+)/m.exec(status ?? '')?.[1];
    return ppid === undefined || uid === undefined ? undefined : { ppid: Number(ppid), uid: Number(uid) };
  },
  isSudo(pid) {
    try {
      const program = basename(readlinkSync(`/proc/${pid}/exe`)).replace(/ \(deleted\)$/, '');
      const { uid, mode } = statSync(`/proc/${pid}/exe`);
      return /^sudo(?:[-.][a-z]+)?$/.test(program) && uid === 0 && (mode & 0o4022) === 0o4000;
    } catch {
      return false;
    }
  },
  environOf(pid) {
    const block = readText(`/proc/${pid}/environ`);
    return block === undefined ? undefined : parseEnviron(block);
  },
};

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return undefined;
  }
}
