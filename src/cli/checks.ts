/**
 * What `cz doctor` looks at on the laptop, without a daemon and without the cluster. A check is data: how to look, and
 * how to mend where that is the laptop's.
 */
import { accessSync, constants, existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import { codeOf } from '../base/errors.js';
import { CONTROL_SOCKET, JOURNAL_PATH, type Finding } from '../control/schema.js';
import type { Invocation } from './command.js';

export type Look = Omit<Finding, 'check'>;

export interface Check {
  readonly name: string;
  look(laptop: Laptop): Look | Promise<Look>;
  /** Mends what `look` found; as root. */
  fix?(): Promise<void>;
}

/** What the checks need to know. */
export interface Laptop {
  readonly invocation: Invocation;
  readonly hasDaemon: boolean;
}

/** The first line of what cz writes over resolv.conf begins so. */
const RESOLVER_MARKER = '# cz ';

const LEFTOVERS: Check = {
  name: 'leftovers',
  look({ hasDaemon }) {
    if (hasDaemon) return { state: 'ok', found: 'a daemon runs; what it changed it undoes' };
    const left = leftovers();
    if (left.length === 0) return { state: 'ok', found: 'none' };
    return {
      state: 'failed',
      found: `of a daemon that was killed: ${left.join(', ')}`,
      next: 'sudo cz doctor --fix',
    };
  },
  async fix() {
    const { replayJournal } = await import('../base/undo.js');
    const { performUndo } = await import('../base/undo-action.js');
    await replayJournal(JOURNAL_PATH);
    await performUndo({ kind: 'unmount', path: '/etc/resolv.conf', marker: RESOLVER_MARKER });
    await performUndo({ kind: 'remove', path: CONTROL_SOCKET });
  },
};

function leftovers(): string[] {
  const left: string[] = [];
  if (existsSync(JOURNAL_PATH)) left.push(`the journal "${JOURNAL_PATH}"`);
  if (existsSync(CONTROL_SOCKET)) left.push(`the socket "${CONTROL_SOCKET}"`);
  if (textOf('/etc/resolv.conf').startsWith(RESOLVER_MARKER)) left.push('"/etc/resolv.conf" names cz');
  const interfaces = Object.keys(networkInterfaces()).filter((name) => /^cz\d+$/.test(name));
  left.push(...interfaces.map((name) => `the interface "${name}"`));
  return left;
}

const TUN: Check = {
  name: 'tun',
  look() {
    const path = '/dev/net/tun';
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isCharacterDevice() === true) return { state: 'ok', found: path };
    const next = 'sudo modprobe tun; in a container, give it the device: --device /dev/net/tun';
    return { state: 'failed', found: found === undefined ? `no "${path}"` : `"${path}" is no device`, next };
  },
};

const PROGRAM: Check = {
  name: 'program',
  look({ invocation }) {
    const [first] = programsOnPath('cz', invocation.env['PATH'] ?? '');
    const own = realPath(invocation.script) ?? invocation.script;
    if (first === undefined) return { state: 'ok', found: own };
    if (realPath(first) === own) return { state: 'ok', found: first };
    const whose = packageOf(first);
    if (whose === packageOf(own)) return { state: 'ok', found: `${own}; on PATH, another copy: ${first}` };
    return {
      state: 'warning',
      found: `the "cz" on PATH is ${first}${whose === undefined ? '' : `, of the npm package "${whose}"`}`,
      next: 'call it as kubectl-cz or kubectl cz, or put its folder first on PATH',
    };
  },
};

/** The checks of the laptop, in the order in which they are shown. */
export const LAPTOP_CHECKS: readonly Check[] = [LEFTOVERS, TUN, PROGRAM];

function programsOnPath(name: string, path: string): string[] {
  return path
    .split(':')
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .filter((file) => isExecutable(file));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** Returns the name of the npm package that a program belongs to: commitizen has a `cz` too. */
function packageOf(program: string): string | undefined {
  for (
    let folder = dirname(realPath(program) ?? program);
    folder !== dirname(folder);
    folder = dirname(folder)
  ) {
    const name = /"name"\s*:\s*"([^"]{1,214})"/.exec(textOf(join(folder, 'package.json')))?.[1];
    if (name !== undefined) return name;
  }
  return undefined;
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return '';
  }
}
