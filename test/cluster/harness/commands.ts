/** The commands of `npm run cluster`, each a function from its arguments to an exit code. */
import { CzError } from '../../../src/base/errors.js';
import { makeUser } from './certificates.js';
import { startProgram } from './control-plane.js';
import { down } from './down.js';
import { attach } from './foreground.js';
import { kubectlArgv } from './kubectl.js';
import { FIRST_LAPTOP, laptop, laptops, onLaptop, removeLaptop, type Attachment } from './laptop.js';
import { importImage } from './node.js';
import { inside, namespaces } from './namespaces.js';
import { isRunning, processId, stopProcess } from './processes.js';
import { NODES, PREFIX, type ProxyMode } from './settings.js';
import { parseShape } from './shape-text.js';
import { shape, unshape } from './shaper.js';
import { facts, up } from './up.js';

export const USAGE = `npm run cluster -- COMMAND
  up [--proxy-mode nftables|iptables]     the cluster, and one line of JSON about it
  down                                    the machine as before
  status                                  one line of JSON
  kubectl ARGS…                           as the cluster's admin
  laptop [--name N] [--default-route|--direct] [--shape LINK] -- CMD…
                                          CMD on a laptop, made if it is new; LINK like rate=100mbit,delay=25ms,loss=1%,
                                          cut or reset (also up-cut, down-rate=…), or off; without CMD only that
  remove-laptop NAME…                     with all that runs on it
  node NAME -- CMD…                       CMD in a node's namespaces
  user NAME [GROUP…]                      the path of a kubeconfig for a user with these groups
  load FILE.tar                           an image into both nodes
  stop|start|restart PROGRAM              apiserver, etcd, controller-manager, scheduler, outside-dns,
                                          kubelet-NODE, kube-proxy-NODE, containerd-NODE`;

type Command = (args: readonly string[]) => Promise<number>;

/** The commands by name. */
export const commands: Readonly<Record<string, Command | undefined>> = {
  up: async (args) => answer(await up(proxyMode(args))),
  down: async () => {
    await down();
    return 0;
  },
  status: async () => answer(await status()),
  kubectl: (args) => attach(kubectlArgv(args)),
  laptop: runOnLaptop,
  'remove-laptop': (names) => each(names, removeLaptop),
  node: runOnNode,
  user: async ([name, ...groups]) => {
    if (name === undefined) throw usage('a user needs a name');
    return print(await makeUser(name, groups));
  },
  load: async (files) => {
    await requireCluster();
    for (const file of files) await Promise.all(NODES.map((node) => importImage(node.name, file)));
    return 0;
  },
  stop: (programs) => each(programs, stopProcess),
  start: (programs) => each(programs, startProgram),
  restart: (programs) =>
    each(programs, async (program) => {
      await stopProcess(program);
      await startProgram(program);
    }),
};

async function status(): Promise<unknown> {
  const cluster = await facts();
  if (cluster === undefined) return { state: (await namespaces()).length > 0 ? 'partial' : 'down' };
  const names = [
    'etcd',
    'apiserver',
    'controller-manager',
    'scheduler',
    'outside-dns',
    'beside-web',
    'beside-echo',
  ];
  const perNode = NODES.flatMap(({ name }) =>
    ['containerd', 'kubelet', 'kube-proxy'].map((what) => `${what}-${name}`),
  );
  const running = await Promise.all(
    [...names, ...perNode].map(async (name) => [name, await isRunning(name)] as const),
  );
  return { state: 'up', ...cluster, programs: Object.fromEntries(running), laptops: await laptops() };
}

async function runOnLaptop(args: readonly string[]): Promise<number> {
  await requireCluster();
  const [options, command] = split(args);
  const wanted = laptopOptions(options);
  const one = await laptop(wanted.name, wanted.attachment);
  if (wanted.shape === 'off') await unshape(one);
  else if (wanted.shape !== undefined) answer(await shape(one, parseShape(wanted.shape)));
  if (command.length === 0 && wanted.shape !== undefined) return 0;
  return attach(onLaptop(one, command.length > 0 ? command : shell(), process.cwd()));
}

interface LaptopOptions {
  name: string;
  attachment?: Attachment;
  shape?: string;
}

function laptopOptions(options: readonly string[]): Readonly<LaptopOptions> {
  const found: LaptopOptions = { name: FIRST_LAPTOP };
  const left = [...options];
  for (let option = left.shift(); option !== undefined; option = left.shift()) {
    if (option === '--name') found.name = left.shift() ?? '';
    else if (option === '--shape') found.shape = left.shift() ?? '';
    else if (option === '--direct') found.attachment = 'direct';
    else if (option === '--default-route') found.attachment = 'default-route';
    else throw usage(`"${option}" is no option of laptop`);
  }
  return found;
}

async function runOnNode(args: readonly string[]): Promise<number> {
  await requireCluster();
  const [[name], command] = split(args);
  if (!NODES.some((node) => node.name === name)) throw usage(`"${name}" is no node`);
  const holder = await processId(`holder-${PREFIX}${name}`);
  return attach(inside({ net: `${PREFIX}${name}`, holder }, command.length > 0 ? command : shell()));
}

/** Everything behind `--` is the command. */
function split(args: readonly string[]): [readonly string[], readonly string[]] {
  const at = args.indexOf('--');
  return at < 0 ? [args, []] : [args.slice(0, at), args.slice(at + 1)];
}

function shell(): readonly string[] {
  return [process.env['SHELL'] ?? '/bin/sh'];
}

async function each(names: readonly string[], work: (name: string) => Promise<void>): Promise<number> {
  if (names.length === 0) throw usage('which?');
  for (const name of names) await work(name);
  return 0;
}

async function requireCluster(): Promise<void> {
  if ((await facts()) === undefined)
    throw new CzError('NOT_FOUND', 'no cluster is up', { hint: 'npm run cluster -- up' });
}

function proxyMode(args: readonly string[]): ProxyMode | undefined {
  const [option, value, ...rest] = args;
  if (option === undefined) return undefined;
  if (option === '--proxy-mode' && rest.length === 0 && (value === 'nftables' || value === 'iptables'))
    return value;
  throw usage(`"${args.join(' ')}" is no option of up`);
}

function usage(what: string): CzError {
  return new CzError('USAGE', what, { hint: USAGE });
}

function answer(value: unknown): number {
  return print(JSON.stringify(value));
}

function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}
