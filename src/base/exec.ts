/**
 * The only place that starts processes. Programs get an argument vector, never a shell line. A failed command's
 * error carries argv and what it printed. Nothing started here inherits descriptors beyond those named.
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { CzError } from './errors.js';

/** Output kept of a command, in bytes (our choice: far more than any tool that cz calls prints). */
const OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 10_000;

export interface ExecOptions {
  /** Bytes for the program's standard input; default none. */
  readonly input?: string | Uint8Array;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Run as this user and group (needs root). */
  readonly uid?: number;
  readonly gid?: number;
  /** Default 10 000. The program gets SIGKILL at the end of it. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Exit codes that are not a failure; default only 0. */
  readonly okCodes?: readonly number[];
}

export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/**
 * Runs a program to its end and returns what it printed.
 * @throws EXEC_MISSING no such program · EXEC_FAILED another exit code than the accepted ones, or a signal ·
 * TIMED_OUT · EXEC_OUTPUT more output than 16 MiB
 */
export async function exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const [program, ...args] = argv;
  if (program === undefined) throw new CzError('EXEC_MISSING', 'empty command');
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...pick(options) });
  const result = collect(child, argv, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  child.stdin.on('error', () => undefined); // a program that exits without reading its input
  child.stdin.end(options.input ?? '');
  return checked(argv, await result, options.okCodes ?? [0]);
}

export interface SpawnOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly stdio: StdioOptions;
  /** A session and process group of its own, so that it outlives the caller. */
  readonly detached?: boolean;
}

/** Starts a program and returns the child; the caller handles its `error` and `exit`. */
export function start(argv: readonly [string, ...string[]], options: SpawnOptions): ChildProcess {
  const [program, ...args] = argv;
  return spawn(program, args, {
    ...pick(options),
    stdio: options.stdio,
    detached: options.detached ?? false,
  });
}

interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Settles when the program's output has ended, and at the time limit whatever still holds that output open. */
function collect(child: ChildProcess, argv: readonly string[], timeoutMs: number): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let size = 0;
    const stop = (error: CzError) => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      child.stdout?.destroy();
      child.stderr?.destroy();
      reject(error);
    };
    const timer = setTimeout(() => stop(new CzError('TIMED_OUT', `${quote(argv)} took too long`)), timeoutMs);
    const keep = (list: Buffer[]) => (chunk: Buffer) => {
      size += chunk.length;
      if (size <= OUTPUT_LIMIT_BYTES) list.push(chunk);
      else stop(new CzError('EXEC_OUTPUT', `${quote(argv)} printed too much`));
    };
    child.stdout?.on('data', keep(out));
    child.stderr?.on('data', keep(err));
    child.once('error', (cause) => stop(startFailure(argv, cause)));
    child.once('close', (exitCode, signal) => {
      clearTimeout(timer);
      const [stdout, stderr] = [Buffer.concat(out).toString(), Buffer.concat(err).toString()];
      resolve({ stdout, stderr, exitCode, signal });
    });
  });
}

function startFailure(argv: readonly string[], cause: NodeJS.ErrnoException): CzError {
  if (cause.code === 'ENOENT') return new CzError('EXEC_MISSING', `no program "${argv[0]}" found`, { cause });
  if (cause.name === 'AbortError')
    return new CzError('INTERRUPTED', `${quote(argv)} was interrupted`, { cause });
  return new CzError('EXEC_FAILED', `starting ${quote(argv)}: ${cause.message}`, { cause });
}

function checked(argv: readonly string[], ended: Ended, okCodes: readonly number[]): ExecResult {
  const { exitCode, stdout, stderr } = ended;
  if (exitCode !== null && okCodes.includes(exitCode)) return { stdout, stderr, exitCode };
  const how = exitCode === null ? `was ended by ${ended.signal}` : `exited with ${exitCode}`;
  const said = stderr.trim() || stdout.trim();
  throw new CzError('EXEC_FAILED', `${quote(argv)} ${how}${said === '' ? '' : `: ${said.slice(0, 2000)}`}`);
}

function pick(options: Omit<ExecOptions, 'input'> & { readonly stdio?: unknown }) {
  const { env, cwd, uid, gid, signal } = options;
  return {
    ...(env === undefined ? {} : { env }),
    ...(cwd === undefined ? {} : { cwd }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(signal === undefined ? {} : { signal }),
  };
}

function quote(argv: readonly string[]): string {
  return `"${argv.join(' ').slice(0, 500)}"`;
}
