/**
 * What a suite needs of a cluster. `openCluster()` gives the running one of `npm run cluster -- up`, or, with KUBECONFIG in
 * the environment, any cluster: then the machine itself is the laptop, and only `kubectl`, `laptop().run` and `.spawn` work
 * (`cluster.own` is false; the rest throws NOT_SUPPORTED).
 *
 *   const cluster = await openCluster();
 *   const laptop = await cluster.laptop('suite-a');                  // made if it is new, kept until `down`
 *   await laptop.run(['curl', '-s', 'http://web.shop']);             // → { stdout, stderr, exitCode }; throws on failure
 *   await laptop.close();                                            // gone, with all that runs on it
 *   const child = laptop.spawn(['iperf3', '-c', '…'], { stdio: 'pipe' });
 *   await laptop.shape({ bitsPerSecond: 100e6, delayMs: 25 });       // one way; while connections run
 *   await laptop.shape({ cut: true });                               // a silent black hole; { reset: true }: resets
 *   await laptop.unshape();
 *   await cluster.kubectl(['get', 'pods', '-n', 'shop']);            // as admin, also while laptops are cut
 *   await cluster.restart('apiserver');                              // SIGKILL and start; stop and start by themselves
 *   const kubeconfig = await cluster.user('alice', ['developers']);  // a user without rights
 *
 * What is in the cluster: test/cluster/workloads/manifests. Addresses and names: settings.ts. The outside DNS server
 * answers names in outside.test with 203.0.113.80, the cluster's with 203.0.113.99: who was asked can be told.
 */
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { CzError } from '../../../src/base/errors.js';
import { exec, start, type ExecOptions, type ExecResult } from '../../../src/base/exec.js';
import { makeUser } from './certificates.js';
import { startProgram } from './control-plane.js';
import { kubectl } from './kubectl.js';
import { laptop, onLaptop, removeLaptop, type Attachment, type Laptop } from './laptop.js';
import { inside } from './namespaces.js';
import { importImage } from './node.js';
import { OUTSIDE_DNS_LOG } from './outside.js';
import { processId, stopProcess } from './processes.js';
import { NODES, PREFIX } from './settings.js';
import { shape, unshape, type Shape, type ShaperReport } from './shaper.js';
import { facts } from './up.js';

/** Who runs a command on a laptop; without one, root. */
interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

interface RunOptions extends Omit<ExecOptions, 'uid' | 'gid'> {
  readonly as?: RunAs;
}

interface LaptopSpawnOptions {
  readonly stdio: StdioOptions;
  readonly as?: RunAs;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/** A laptop as a suite uses it. */
export interface SuiteLaptop {
  readonly name: string;
  /** Its address on the LAN; undefined where the machine is the laptop. */
  readonly address: string | undefined;
  /** Runs a program to its end. @throws EXEC_FAILED · TIMED_OUT (default 10 s), as `exec` does */
  run(argv: readonly string[], options?: RunOptions): Promise<ExecResult>;
  /** Starts a program: signals to the child reach it, its pid is the program's. */
  spawn(argv: readonly string[], options: LaptopSpawnOptions): ChildProcess;
  /** Sets its link, in place of the settings before; both directions, or `{ up, down }`. */
  shape(settings: Shape): Promise<ShaperReport>;
  /** Makes its link plain again. */
  unshape(): Promise<void>;
  /** Ends what runs on it and removes it; idempotent. The next laptop of this name is a new one. */
  close(): Promise<void>;
}

export interface Cluster {
  /** Whether it is the harness's own, so that all of this interface works. */
  readonly own: boolean;
  /** The path of the admin's kubeconfig; its API server's address is reachable from laptops. */
  readonly kubeconfig: string;
  /** Runs kubectl as the admin, and returns its output. @throws EXEC_FAILED */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** Returns the laptop of this name, made where there is none. */
  laptop(name?: string, attachment?: Attachment): Promise<SuiteLaptop>;
  /** Runs a program in a node's namespaces. */
  onNode(node: string, argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Returns the path of a kubeconfig for a user with these groups and no rights but theirs. */
  user(name: string, groups?: readonly string[]): Promise<string>;
  /** Imports a docker-archive into every node. */
  load(archive: string): Promise<void>;
  /** Kills a program of the cluster (`apiserver`, `kubelet-node1`, …: see `npm run cluster`). */
  stop(program: string): Promise<void>;
  /** Starts it again with the same flags; for the API server, returns when it answers. */
  start(program: string): Promise<void>;
  restart(program: string): Promise<void>;
  /** Returns what laptops asked the outside DNS server so far, each as `TYPE NAME RCODE`. */
  outsideQueries(): Promise<string[]>;
}

/** Returns the cluster to test on. @throws NOT_FOUND where none is up and KUBECONFIG names none */
export async function openCluster(env: NodeJS.ProcessEnv = process.env): Promise<Cluster> {
  const named = env['KUBECONFIG'];
  return named === undefined || named === '' ? ownCluster() : foreignCluster(named);
}

async function ownCluster(): Promise<Cluster> {
  const running = await facts();
  if (running === undefined)
    throw new CzError('NOT_FOUND', 'no cluster is up', { hint: 'npm run cluster -- up' });
  return {
    own: true,
    kubeconfig: running.kubeconfig,
    kubectl,
    laptop: async (name = 'laptop', attachment) => suiteLaptop(await laptop(name, attachment)),
    onNode,
    user: (name, groups = []) => makeUser(name, groups),
    load: async (archive) => {
      await Promise.all(NODES.map((node) => importImage(node.name, archive)));
    },
    stop: stopProcess,
    start: startProgram,
    restart: async (program) => {
      await stopProcess(program);
      await startProgram(program);
    },
    outsideQueries,
  };
}

async function onNode(node: string, argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
  const net = `${PREFIX}${node}`;
  return exec(inside({ net, holder: await processId(`holder-${net}`) }, argv), options);
}

async function outsideQueries(): Promise<string[]> {
  const log = await readFile(OUTSIDE_DNS_LOG, 'utf8');
  return [...log.matchAll(/^\[INFO\] (\S+ \S+ \S+)$/gm)].map((match) => match[1] ?? '');
}

function suiteLaptop(one: Laptop): SuiteLaptop {
  return {
    name: one.name,
    address: one.address,
    run: (argv, { as, cwd = process.cwd(), ...options } = {}) =>
      exec(onLaptop(one, asUser(argv, as), cwd), options),
    spawn: (argv, { as, cwd = process.cwd(), ...options }) =>
      start(onLaptop(one, asUser(argv, as), cwd), options),
    shape: (settings) => shape(one, settings),
    unshape: () => unshape(one),
    close: () => removeLaptop(one.name),
  };
}

/** The namespaces are entered as root; only the program itself runs as the user. */
function asUser(argv: readonly string[], as: RunAs | undefined): readonly string[] {
  if (as === undefined) return argv;
  return ['setpriv', `--reuid=${as.uid}`, `--regid=${as.gid}`, '--clear-groups', '--', ...argv];
}

function foreignCluster(kubeconfig: string): Cluster {
  const refuse = (what: string) => async (): Promise<never> =>
    Promise.reject(new CzError('NOT_SUPPORTED', `${what} needs the tests' own cluster, not "${kubeconfig}"`));
  return {
    own: false,
    kubeconfig,
    kubectl: async (args, input) => {
      const options = input === undefined ? {} : { input };
      const done = await exec(['kubectl', `--kubeconfig=${kubeconfig}`, ...args], {
        timeoutMs: 120_000,
        ...options,
      });
      return done.stdout;
    },
    laptop: () => Promise.resolve(machineAsLaptop(refuse('shaping a link'))),
    onNode: refuse('entering a node'),
    user: refuse('making a user'),
    load: refuse('importing an image'),
    stop: refuse('stopping a program'),
    start: refuse('starting a program'),
    restart: refuse('restarting a program'),
    outsideQueries: refuse('the outside DNS log'),
  };
}

function machineAsLaptop(refuse: () => Promise<never>): SuiteLaptop {
  return {
    name: 'this machine',
    address: undefined,
    run: (argv, { as, ...options } = {}) => exec(asUser(argv, as), options),
    spawn: ([program = '', ...args], { as, ...options }) => {
      const [first = '', ...rest] = asUser([program, ...args], as);
      return start([first, ...rest], options);
    },
    shape: refuse,
    unshape: refuse,
    close: () => Promise.resolve(),
  };
}
