/**
 * Runs programs and reads files as the invoker: with that user's uid, gid, supplementary groups and environment.
 * `setpriv` (util-linux) enters the groups where it exists; else Node changes uid and gid alone. `setpriv` starts
 * as root under an environment that the user wrote, so the variables that steer the loader and the C library are
 * kept from it and given back to the program once the rights are dropped.
 */
import { constants, existsSync, realpathSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { CzError, codeOf, messageOf } from './errors.js';
import { exec, type ExecOptions, type ExecResult } from './exec.js';
import type { Invoker } from './invoker.js';

/** Largest file read for the invoker, in bytes (our choice: kubeconfigs of big companies have some 100 kB). */
const FILE_LIMIT_BYTES = 4 * 1024 * 1024;
const READ_TIMEOUT_MS = 5_000;
/** How `setpriv` and `env` say that they did not find the program. setpriv(1), env(1) */
const NOT_FOUND_EXIT = 127;
const SETPRIV = '/usr/bin/setpriv';
const ENV = '/usr/bin/env';

/**
 * What glibc takes away from a set-user-id program (glibc, sysdeps/generic/unsecvars.h, and the `LD_` family),
 * and gettext's search path.
 */
const UNSAFE =
  /^(?:LD_.*|MALLOC_.*|RESOLV_.*|GLIBC_TUNABLES|GCONV_PATH|GETCONF_DIR|HOSTALIASES|LOCALDOMAIN|LOCPATH|NIS_PATH|NLSPATH|RES_OPTIONS|TMPDIR|TZDIR|TEXTDOMAINDIR)$/;

/** How a program is started so that it runs as somebody. */
export interface Command {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Set only where `setpriv` is missing. */
  readonly uid?: number;
  readonly gid?: number;
}

/** Returns how to start `argv` as the invoker; as it is when this process already is that user. */
export function commandAs(invoker: Invoker, argv: readonly [string, ...string[]]): Command {
  const cwd = workingFolder(invoker);
  if (isSelf(invoker)) return { argv, env: invoker.env, cwd };
  if (!canInitGroups()) return { argv, env: invoker.env, cwd, uid: invoker.uid, gid: invoker.gid };
  const safe = Object.entries(invoker.env).filter(([name]) => !UNSAFE.test(name));
  const unsafe = Object.entries(invoker.env).filter(([name]) => UNSAFE.test(name));
  const rest = unsafe.length === 0 ? argv : [ENV, ...unsafe.map(([k, v]) => `${k}=${v}`), ...argv];
  const ids = [`--reuid=${invoker.uid}`, `--regid=${invoker.gid}`, '--init-groups', '--inh-caps=-all'];
  return { argv: [SETPRIV, ...ids, '--', ...rest], env: Object.fromEntries(safe), cwd };
}

/** As `exec`, as the invoker. @throws EXEC_MISSING also when the program is missing behind `setpriv` or `env` */
export async function execAs(
  invoker: Invoker,
  argv: readonly [string, ...string[]],
  options: Omit<ExecOptions, 'uid' | 'gid' | 'cwd'> = {},
): Promise<ExecResult> {
  const okCodes = options.okCodes ?? [0];
  const { argv: whole, ...rest } = commandAs(invoker, argv);
  if (whole === argv) return exec(argv, { ...rest, ...options });
  const result = await exec(whole, { ...rest, ...options, okCodes: [...okCodes, NOT_FOUND_EXIT] });
  const [said = ''] = result.stderr.split('\n', 1);
  const missing = /^(?:\/usr\/bin\/env|setpriv|\/usr\/bin\/setpriv): /.test(said) && said.includes(argv[0]);
  if (result.exitCode !== NOT_FOUND_EXIT) return result;
  if (missing) throw new CzError('EXEC_MISSING', `no program "${argv[0]}" found`);
  if (okCodes.includes(NOT_FOUND_EXIT)) return result;
  throw new CzError('EXEC_FAILED', `"${argv.join(' ').slice(0, 500)}" exited with 127: ${said}`);
}

/**
 * Returns the content of a regular file, read with the invoker's rights (a file may be readable by one of the
 * invoker's groups only, or lie on a file system where root is nobody).
 * @throws READ_MISSING no such file · READ_DENIED not readable · READ_LARGE more than 4 MiB · READ_FAILED anything else
 */
export async function readFileAs(invoker: Invoker, path: string): Promise<Buffer> {
  const content = isSelf(invoker) ? await readHere(path) : await readThere(invoker, path);
  if (content.length > FILE_LIMIT_BYTES) throw new CzError('READ_LARGE', `"${path}" has more than 4 MiB`);
  return content;
}

async function readHere(path: string): Promise<Buffer> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await file.stat()).isFile()) throw new CzError('READ_FAILED', `"${path}" is no regular file`);
      const buffer = Buffer.alloc(FILE_LIMIT_BYTES + 1);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw readError(path, codeOf(error), error);
  }
}

async function readThere(invoker: Invoker, path: string): Promise<Buffer> {
  try {
    const argv = ['head', `--bytes=${FILE_LIMIT_BYTES + 1}`, '--', path] as const;
    const { stdout } = await execAs({ ...invoker, env: PLAIN_ENV }, [...argv], {
      timeoutMs: READ_TIMEOUT_MS,
    });
    return Buffer.from(stdout);
  } catch (error) {
    const said = messageOf(error);
    if (said.includes('No such file or directory')) throw readError(path, 'ENOENT', error);
    if (said.includes('Permission denied')) throw readError(path, 'EACCES', error);
    throw readError(path, codeOf(error), error);
  }
}

/** What a reader needs: nothing of the user's, messages in English. */
const PLAIN_ENV = { PATH: '/usr/bin:/bin', LC_ALL: 'C' };

function readError(path: string, code: string | undefined, cause: unknown): CzError {
  if (cause instanceof CzError && cause.code.startsWith('READ_')) return cause;
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new CzError('READ_MISSING', `reading "${path}": no such file`, { cause });
  if (code === 'EACCES' || code === 'EPERM')
    return new CzError('READ_DENIED', `reading "${path}": permission denied`, { cause });
  return new CzError('READ_FAILED', `reading "${path}": ${messageOf(cause)}`, { cause });
}

function isSelf(invoker: Invoker): boolean {
  return process.getuid?.() === invoker.uid;
}

let setprivUsable: boolean | undefined;

/** Returns whether util-linux's setpriv is here (busybox has one by that name without --init-groups). */
function canInitGroups(): boolean {
  setprivUsable ??= existsSync(SETPRIV) && basename(realpathSync(SETPRIV)) === 'setpriv';
  return setprivUsable;
}

/** Returns where the invoker stands, else their home, else `/`. */
function workingFolder(invoker: Invoker): string {
  const isFolder = (path: string | undefined) => {
    if (path === undefined || !path.startsWith('/')) return false;
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  };
  const candidates = [invoker.env['PWD'], invoker.home];
  return candidates.find((path) => safely(() => isFolder(path))) ?? '/';
}

function safely(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    return false;
  }
}
