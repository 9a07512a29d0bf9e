/**
 * What the cluster suites share: the manager of this source on the cluster, laptops that end clean, `cz` run on them,
 * and what of a laptop must be the same before and after. Waiting: harness/until.ts.
 *
 *   const cluster = await openCluster();
 *   const laptop = await testLaptop(cluster, 'suite-a');            // new; after the suite disconnected and removed
 *   before(() => ensureManager(cluster));
 *   await connected(laptop, '-n', 'shop');                          // fails with what cz said
 *   const { exitCode, stderr } = await cz(laptop, ['connect', '--context', 'other']);
 *
 * In the environment: CZ_TEST_PROGRAM, another `cz.js` than dist's · CZ_TEST_IMAGE, the manager's image for a cluster
 * that cannot be loaded from here · CZ_TEST_MANAGER=keep, the manager that is there, whatever its version.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { writeImage } from '../../../agent-image/archive.js';
import { IMAGE_CONFIG, imageEntries } from '../../../agent-image/contents.js';
import { VERSION } from '../../../src/base/version.js';
import type { DisconnectResult, Status } from '../../../src/control/schema.js';
import type { Outcome } from '../../support/manager.js';
import type { Attachment } from '../harness/laptop.js';
import { openCluster, type Cluster, type SuiteLaptop } from '../harness/cluster.js';
import { BESIDE_ADDRESS } from '../harness/settings.js';
import { until } from '../harness/until.js';

/** The repository's folder. */
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** The program under test. */
export const PROGRAM = process.env['CZ_TEST_PROGRAM'] ?? path.join(ROOT, 'dist/cz.js');

/** The manager's pod and its namespace. */
export const MANAGER = { namespace: 'cz-system', pod: 'cz-manager-0' } as const;

const ANY_CODE = Array.from({ length: 256 }, (_, code) => code);
const CZ_TIMEOUT_MS = 60_000;
const INSTALL_TIMEOUT_MS = 180_000;
const READY = { timeoutMs: 60_000, everyMs: 200 };

export interface CzOptions {
  /** Default: the cluster's admin. */
  readonly kubeconfig?: string;
  /** Added to the environment. */
  readonly env?: NodeJS.ProcessEnv;
  readonly as?: { readonly uid: number; readonly gid: number };
  readonly timeoutMs?: number;
}

/** Runs `cz` on the laptop (as root, unless told otherwise) and returns what it gave, failed or not. */
export async function cz(
  laptop: SuiteLaptop,
  args: readonly string[],
  options: CzOptions = {},
): Promise<Outcome> {
  const { env, as, timeoutMs = CZ_TIMEOUT_MS } = options;
  const kubeconfig = options.kubeconfig ?? (await admin());
  return laptop.run([process.execPath, PROGRAM, ...args], {
    env: { ...process.env, KUBECONFIG: kubeconfig, ...env },
    ...(as === undefined ? {} : { as }),
    timeoutMs,
    okCodes: ANY_CODE,
  });
}

/** Connects and returns the status. Fails with what cz said. */
export async function connected(laptop: SuiteLaptop, ...args: string[]): Promise<Status> {
  succeeded(await cz(laptop, ['connect', ...args]));
  const now = await status(laptop);
  assert.equal(now.state, 'connected');
  return now;
}

/** Disconnects; fails if anything is left behind. Fine when nothing is connected. */
export async function disconnected(laptop: SuiteLaptop): Promise<DisconnectResult> {
  const result: DisconnectResult = JSON.parse(
    succeeded(await cz(laptop, ['disconnect', '-o', 'json'])).stdout,
  );
  assert.deepEqual(result.leftovers, []);
  return result;
}

/** Returns the status; as whoever asks. */
export async function status(laptop: SuiteLaptop, options: CzOptions = {}): Promise<Status> {
  const { stdout } = succeeded(await cz(laptop, ['status', '-o', 'json'], options));
  const now: Status = JSON.parse(stdout);
  return now;
}

/** Returns the outcome of a command that must have succeeded. */
export function succeeded(outcome: Outcome): Outcome {
  assert.equal(outcome.exitCode, 0, outcome.stderr);
  return outcome;
}

/**
 * Returns a new laptop of this name; after the suite it is disconnected and removed. On a foreign cluster the machine
 * itself, which is only disconnected. To be called at a file's top level, where `after` means the end of the file.
 */
export async function testLaptop(
  cluster: Cluster,
  name: string,
  attachment?: Attachment,
): Promise<SuiteLaptop> {
  await (await cluster.laptop(name)).close();
  const laptop = await cluster.laptop(name, attachment);
  after(async () => {
    try {
      await disconnected(laptop);
    } finally {
      await laptop.close();
    }
  });
  return laptop;
}

/** What cz changes on a laptop, as the tools show it. Equal before and after. */
export interface LaptopState {
  readonly links: string;
  readonly addresses: string;
  readonly routes: string;
  readonly rules: string;
  readonly firewall: string;
  readonly resolver: string;
  readonly mounts: string;
  readonly sysctls: string;
  readonly runFolder: string;
}

const LOOKS: Readonly<Record<keyof LaptopState, readonly string[]>> = {
  links: ['ip', '-brief', 'link'],
  addresses: ['ip', '-4', '-brief', 'address'],
  routes: ['ip', '-4', 'route', 'show', 'table', 'all'],
  rules: ['ip', 'rule'],
  firewall: ['nft', 'list', 'ruleset'],
  resolver: [
    'sh',
    '-c',
    'ls -l /etc/resolv.conf; stat -L -c "%i %a %s" /etc/resolv.conf; cat /etc/resolv.conf',
  ],
  mounts: ['sh', '-c', 'cut -d" " -f 5- /proc/self/mountinfo'],
  sysctls: [
    'sh',
    '-c',
    'sysctl -a --pattern "^net.ipv4.(ip_forward|conf.(all|default|eth0)\\.)" 2>/dev/null',
  ],
  // the lock, the last log and the empty folder stay: they change nothing
  runFolder: ['sh', '-c', 'ls /run/cz 2>/dev/null | grep -v -e "^lock$" -e "^daemon.log" || true'],
};

/** Returns the laptop's state; also of one that the cluster cannot reach. */
export async function laptopState(laptop: SuiteLaptop): Promise<LaptopState> {
  const look = async (what: keyof LaptopState) => (await laptop.run(LOOKS[what])).stdout;
  const [links, addresses, routes, rules, firewall, resolver, mounts, sysctls, runFolder] = await Promise.all(
    [
      look('links'),
      look('addresses'),
      look('routes'),
      look('rules'),
      look('firewall'),
      look('resolver'),
      look('mounts'),
      look('sysctls'),
      look('runFolder'),
    ],
  );
  return { links, addresses, routes, rules, firewall, resolver, mounts, sysctls, runFolder };
}

/** Fails where the laptop's state is not what it was, naming the lines that differ; of a part, where only that is given. */
export async function assertAsBefore(laptop: SuiteLaptop, before: Partial<LaptopState>): Promise<void> {
  const now: Partial<Record<string, string>> = { ...(await laptopState(laptop)) };
  const differing = Object.entries(before).flatMap(([what, text]: [string, string]) => {
    const [was, is] = [text.split('\n'), (now[what] ?? '').split('\n')];
    const gone = was.filter((line) => !is.includes(line)).map((line) => `${what} - ${line}`);
    return [...gone, ...is.filter((line) => !was.includes(line)).map((line) => `${what} + ${line}`)];
  });
  assert.deepEqual(differing, []);
}

/** Returns a field of objects in the cluster: `field(cluster, 'pods -n shop -l app=web', '{.items[*].status.podIP}')`. */
export async function field(cluster: Cluster, what: string, jsonPath: string): Promise<string> {
  return cluster.kubectl(['get', ...what.split(' '), '-o', `jsonpath=${jsonPath}`]);
}

let ensured: Promise<void> | undefined;

/**
 * Makes sure that the manager of this source runs and serves, with the host beside the nodes permitted. Where it does
 * already, nothing is changed; else it is made, loaded and installed.
 */
export function ensureManager(cluster: Cluster): Promise<void> {
  ensured ??= install(cluster);
  return ensured;
}

async function install(cluster: Cluster): Promise<void> {
  const foreign = process.env['CZ_TEST_IMAGE'];
  const keep = process.env['CZ_TEST_MANAGER'] === 'keep';
  if (foreign !== undefined || keep) {
    await apply(cluster, foreign === undefined ? [] : ['--image', foreign]);
    return;
  }
  const image = await makeImage();
  try {
    if (await isServing(cluster, image.id)) return;
    await cluster.load(image.file);
    await apply(cluster, ['--image', image.tag]);
    if (await isServing(cluster, image.id)) return;
    await cluster.kubectl(['delete', 'pod', MANAGER.pod, '-n', MANAGER.namespace]); // its image kept its name
    await until('the manager of this source', () => isServing(cluster, image.id), READY);
  } finally {
    await rm(image.folder, { recursive: true });
  }
}

async function makeImage() {
  const folder = await mkdtemp(path.join(tmpdir(), 'cz-image-'));
  const file = path.join(folder, 'manager.tar');
  const tag = `cz-manager:${VERSION}`;
  const node = path.join(ROOT, `agent-image/node_modules/node-linux-${process.arch}/bin/node`);
  const entries = await imageEntries({ root: ROOT, node });
  const { id } = await writeImage({ entries, config: IMAGE_CONFIG, tags: [tag], output: file });
  return { folder, file, tag, id };
}

/** The settings of an earlier install are kept: where there is nothing to change, nothing restarts. */
async function apply(cluster: Cluster, args: readonly string[]): Promise<void> {
  const laptop = await cluster.laptop('installer');
  const argv = ['install', ...args, '--also-route', `${BESIDE_ADDRESS}/32`];
  succeeded(await cz(laptop, argv, { kubeconfig: cluster.kubeconfig, timeoutMs: INSTALL_TIMEOUT_MS }));
}

interface ManagerPod {
  readonly metadata?: { readonly deletionTimestamp?: string };
  readonly spec?: { readonly containers?: readonly { readonly env?: readonly { value?: string }[] }[] };
  readonly status?: {
    readonly containerStatuses?: readonly { readonly imageID: string; readonly ready: boolean }[];
  };
}

async function isServing(cluster: Cluster, imageId: string): Promise<boolean> {
  const argv = ['get', 'pod', MANAGER.pod, '-n', MANAGER.namespace, '-o', 'json', '--ignore-not-found'];
  const text = await cluster.kubectl(argv);
  if (text === '') return false;
  const { metadata, spec, status: now }: ManagerPod = JSON.parse(text);
  const [container] = now?.containerStatuses ?? [];
  const settings = spec?.containers?.[0]?.env ?? [];
  return (
    metadata?.deletionTimestamp === undefined &&
    container?.ready === true &&
    container.imageID.endsWith(imageId) &&
    settings.some(({ value }) => value?.includes(BESIDE_ADDRESS) === true)
  );
}

let adminKubeconfig: string | undefined;

async function admin(): Promise<string> {
  adminKubeconfig ??= (await openCluster()).kubeconfig;
  return adminKubeconfig;
}
