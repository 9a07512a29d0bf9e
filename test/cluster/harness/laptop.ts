/**
 * Laptops: each a network namespace on the router's LAN that reaches the API server and the outside DNS server, and a
 * mount namespace with its own /etc, /run and state, both kept until `down`. Made on first use, found again by name.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { CzError } from '../../../src/base/errors.js';
import { exec } from '../../../src/base/exec.js';
import { holdLaptop } from './holder.js';
import { locked } from './lock.js';
import { addNamespace, inside, ip, namespaces, sysctl, type Place } from './namespaces.js';
import { forwarding } from './network.js';
import { readRecord, writeRecord } from './records.js';
import { endResidents } from './residents.js';
import {
  CONTROL,
  inCluster,
  NETWORKS,
  NODES,
  OUTSIDE,
  OUTSIDE_DNS_ADDRESS,
  PREFIX,
  ROUTER_ADDRESS,
} from './settings.js';
import { unshape } from './shaper.js';
import { until } from './until.js';

/** A laptop's namespace is named after it, and 15 characters name a link; names are also file names. */
const NAME = /^[a-z][a-z0-9-]{0,29}$/;
/** First and last number of a laptop; it is the last part of its address. */
const [FIRST, LAST] = [100, 249];
const END_TIMEOUT_MS = 10_000;

/**
 * How a laptop is attached: `host-route` (no default route, the usual), `default-route` (by a router that answers
 * "unreachable" for everything else), `direct` (beside the nodes, with routes to pods and Services: for measuring
 * without cz; it does not stand for a laptop).
 */
export type Attachment = 'host-route' | 'default-route' | 'direct';

export interface Laptop {
  readonly name: string;
  readonly address: string;
  readonly attachment: Attachment;
  /** The name of its link in the router's namespace. */
  readonly cable: string;
  readonly place: Place;
}

/** The laptop that `up` makes. */
export const FIRST_LAPTOP = 'laptop';

/** Returns the laptop of this name, after making it where there is none. @throws USAGE · CONFLICT another attachment */
export async function laptop(name: string, attachment?: Attachment): Promise<Laptop> {
  if (!NAME.test(name)) throw new CzError('USAGE', `"${name}" is no name for a laptop`);
  const found = await recall(name);
  if (found === undefined)
    return locked(async () => (await recall(name)) ?? make(name, attachment ?? 'host-route'));
  if (attachment !== undefined && attachment !== found.attachment)
    throw new CzError('CONFLICT', `laptop "${name}" exists, attached by ${found.attachment}`);
  return found;
}

/** Makes the first laptop; for `up`, which holds the lock. */
export async function makeFirstLaptop(): Promise<Laptop> {
  return make(FIRST_LAPTOP, 'host-route');
}

/** Returns the laptops that exist. */
export async function laptops(): Promise<Laptop[]> {
  const files = await readdir(inCluster('laptops')).catch(() => []);
  const all = await Promise.all(files.map((file) => recall(file.replace(/\.json$/, ''))));
  return all.filter((one) => one !== undefined);
}

/** Ends what runs on a laptop and removes it; the next of its name is new. Nothing to do where there is none. */
export async function removeLaptop(name: string): Promise<void> {
  const found = await recall(name);
  if (found !== undefined) await unshape(found);
  await locked(() => clearAway(name));
}

/** Returns the argument vector that runs `argv` on a laptop, in the same folder. */
export function onLaptop(one: Laptop, argv: readonly string[], cwd: string): [string, ...string[]] {
  return inside(one.place, argv, cwd);
}

async function recall(name: string): Promise<Laptop | undefined> {
  return readRecord<Laptop>(record(name));
}

async function make(name: string, attachment: Attachment): Promise<Laptop> {
  const net = namespaceOf(name);
  await clearAway(name); // what an interrupted make left
  const number = await freeNumber();
  const cable = `laptop${number}`;
  const address = `${attachment === 'direct' ? '172.31.0' : '198.51.100'}.${number}`;
  await addNamespace(net);
  await sysctl(net, ['net.ipv4.ip_forward=0']); // copied from the machine, where pods need it
  await plug(net, cable, address, attachment);
  const holder = await holdLaptop(net, OUTSIDE_DNS_ADDRESS);
  await forwarding(farEnd(attachment).net, [cable]);
  const made: Laptop = { name, address, attachment, cable, place: { net, holder } };
  await mkdir(inCluster('laptops'), { recursive: true });
  await writeRecord(record(name), made);
  return made;
}

function namespaceOf(name: string): string {
  return name === FIRST_LAPTOP ? `${PREFIX}laptop` : `${PREFIX}laptop-${name}`;
}

async function clearAway(name: string): Promise<void> {
  const net = namespaceOf(name);
  const found = await recall(name);
  if (found !== undefined) await ip(farEnd(found.attachment).net, [`link del ${found.cable}`]);
  if ((await namespaces()).includes(net)) {
    await until(`the end of ${net}`, () => endResidents([net]), { timeoutMs: END_TIMEOUT_MS, everyMs: 20 });
    await exec(['ip', 'netns', 'del', net]);
  }
  await rm(inCluster('holders', net), { recursive: true, force: true });
  await rm(record(name), { force: true });
}

/** Joins a laptop to its bridge. Ports of the LAN are isolated: laptops reach the router, not each other. */
async function plug(net: string, cable: string, address: string, attachment: Attachment): Promise<void> {
  const { net: far, bridge } = farEnd(attachment);
  await ip(far, [
    `link add ${cable} type veth peer name eth0 netns ${net}`,
    `link set ${cable} master ${bridge} up`,
    ...(attachment === 'direct' ? [] : [`link set ${cable} type bridge_slave isolated on`]),
  ]);
  await ip(net, [`addr add ${address}/24 dev eth0`, 'link set eth0 up', ...ROUTES[attachment]]);
}

function farEnd(attachment: Attachment): { readonly net: string; readonly bridge: string } {
  return attachment === 'direct' ? { net: CONTROL, bridge: 'cluster0' } : { net: OUTSIDE, bridge: 'lan0' };
}

const ROUTES: Readonly<Record<Attachment, readonly string[]>> = {
  'host-route': [`route add ${NETWORKS.apiServer} via ${ROUTER_ADDRESS}`],
  'default-route': [`route add default via ${ROUTER_ADDRESS}`],
  direct: [
    ...NODES.map((node) => `route add ${node.podCidr} via ${node.address}`),
    ...NODES.slice(0, 1).map((node) => `route add ${NETWORKS.services} via ${node.address}`),
  ],
};

async function freeNumber(): Promise<number> {
  const taken = new Set((await laptops()).map((one) => one.cable));
  for (let number = FIRST; number <= LAST; number++) if (!taken.has(`laptop${number}`)) return number;
  throw new CzError('CONFLICT', 'no address is left for another laptop');
}

function record(name: string): string {
  return inCluster('laptops', `${name}.json`);
}
