/**
 * Runs inside a network namespace of its own (apply.test.ts), which is a laptop with an exit node's policy routing and
 * a container: sets up cz's interface, guard and routes for real, tries them with packets, undoes them, and prints
 * what it saw as JSON.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { codeOf } from '../../../src/base/errors.js';
import { exec, start } from '../../../src/base/exec.js';
import { performUndo } from '../../../src/base/undo-action.js';
import { applyRoutes, planChanges, RULES_UNDO } from '../../../src/routes/apply.js';
import { GUARD_UNDO, guardInterface } from '../../../src/routes/guard.js';
import { readHost } from '../../../src/routes/host.js';
import { configureInterface } from '../../../src/routes/interface.js';
import { planRoutes } from '../../../src/routes/plan.js';
import { openHostWatch } from '../../../src/routes/watch.js';
import { until } from '../../support/wait.js';
import { ping, SYN, tcp, udp, type Seen } from '../../wire/nat-packets.js';
import { RawTun } from '../../wire/nat-tun.js';

const ONE = '198.18.0.1';
const TWO = '198.18.0.2';
const DNS = '198.19.255.53';
const POD = '10.244.3.4';
const SERVICE = '10.96.0.10';
const CONTAINER = '172.17.0.2';

const ip = (lines: string) => exec(['ip', '-batch', '-'], { input: lines });
const results: Record<string, unknown> = {};

const container = start(['unshare', '-n', 'sleep', 'infinity'], { stdio: 'ignore' });
const namespace = (pid: number | string = 'self') => readlinkSync(`/proc/${pid}/ns/net`);
await until('the container', () => namespace(container.pid) !== namespace());
const inContainer = (...argv: string[]) => ['nsenter', `--net=/proc/${container.pid}/ns/net`, ...argv];

// The laptop: an exit node that takes everything, and a container of one address on a veth.
const tail = await new RawTun('tail0').opened();
await ip(`link set lo up
address add 100.101.102.103/32 dev tail0
link set tail0 up
link add name pod0 type veth peer name inpod0 netns ${container.pid}
address add 172.17.0.1/24 dev pod0
link set pod0 up
route add default dev tail0 table 52
rule add priority 5270 lookup 52
rule add priority 100 to 172.17.0.0/24 lookup main
`);
await exec(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0']);
await exec(inContainer('ip', '-batch', '-'), {
  input: `address add ${CONTAINER}/24 dev inpod0
link set inpod0 up
route add default via 172.17.0.1
`,
});
results['before'] = await snapshot();

const tun = await new RawTun('cz0').opened();
const settings = { address: ONE, dnsAddress: DNS, mtu: 1450 };
await configureInterface('cz0', settings);
const guarded = await guardInterface('cz0');
const wish = { networks: ['10.244.0.0/16', '10.96.0.0/12'], neverRoute: ['10.96.7.0/24'] };
const plan = await planned(wish);
await applyRoutes('cz0', plan);
results['ways'] = await ways(SERVICE, POD, '10.96.7.7', DNS, '203.0.113.200');
results['again'] = planChanges('cz0', await planned(wish), await readHost());
results['failed'] = await failing();
results['guard'] = await guard();
await configureInterface('cz0', { ...settings, address: TWO });
results['moved'] = await ways(SERVICE, ONE);
results['told'] = await told();

tun.close();
await until('the interface is gone', () => tun.closed);
for (const undo of [RULES_UNDO, GUARD_UNDO, RULES_UNDO, GUARD_UNDO]) await performUndo(undo);
results['after'] = await snapshot();
tail.close();
container.kill('SIGKILL');
console.log(JSON.stringify(results));

async function planned({ networks, neverRoute }: typeof wish) {
  const host = await readHost();
  const none = { alsoRoute: [], protectedAddresses: [] };
  return planRoutes({ ...none, networks, neverRoute, host, interfaceName: 'cz0' });
}

async function snapshot(): Promise<string[]> {
  const commands = [
    ['ip', '-o', '-4', 'address', 'show'],
    ['ip', '-4', 'route', 'show', 'table', 'all'],
    ['ip', '-4', 'rule', 'show'],
    ['nft', 'list', 'ruleset'],
  ];
  const outputs = await Promise.all(commands.map((argv) => exec(argv)));
  return outputs.map(({ stdout }) => stdout);
}

/** Returns the interface and source by which the kernel sends to each address. */
async function ways(...addresses: readonly string[]): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const address of addresses) {
    const { stdout } = await exec(['ip', '-4', 'route', 'get', address]);
    found[address] = /dev \S+/.exec(stdout)?.[0] + ' ' + /src \S+/.exec(stdout)?.[0];
  }
  return found;
}

/** The second route can't be added: the first must not stay. */
async function failing() {
  const bad = { ...plan, routes: [...plan.routes, '10.1.0.0/16', '300.0.0.0/8'] };
  try {
    await applyRoutes('cz0', bad);
  } catch (error) {
    return { code: codeOf(error), left: planChanges('cz0', plan, await readHost()) };
  }
  return 'nothing failed';
}

/** Something else changes on the laptop while it is watched, again and again until that is told. */
async function told(): Promise<boolean> {
  const heard = { calls: 0 };
  const watch = openHostWatch({ onChange: () => (heard.calls += 1) });
  for (let count = 1; heard.calls === 0; count += 1)
    await exec(['ip', 'address', count % 2 === 1 ? 'add' : 'delete', '10.77.0.1/32', 'dev', 'lo']);
  watch.close();
  watch.close();
  await exec(['ip', 'address', 'flush', 'dev', 'lo', 'to', '10.77.0.1/32']);
  return heard.calls > 0;
}

async function guard() {
  const socket = createSocket('udp4');
  const heard: string[] = [];
  socket.on('message', (message) => heard.push(message.toString()));
  socket.bind(5353);
  await once(socket, 'listening');
  // What would open something in the laptop.
  tun.send(
    udp({ from: POD, to: ONE, sourcePort: 1000, port: 5353, data: Buffer.from('unasked') }),
    tcp({ from: POD, to: ONE, sourcePort: 1000, port: 22, flags: SYN }),
    ping({ from: POD, to: ONE, id: 1 }),
  );
  // The laptop's own question, and the answer to it; the line keeps its order.
  socket.send('question', 7, POD);
  const before = await upTo(({ port, to }) => port === 7 && to === POD);
  tun.send(udp({ from: POD, to: ONE, sourcePort: 7, port: 5353, data: Buffer.from('answer') }));
  await until('the answer', () => heard.includes('answer'));
  socket.close();
  return { there: guarded, replied: before, heard, ...(await forwarded()) };
}

/** A neighbour on another interface sends through the laptop, then a container does; both would come out of the tunnel. */
async function forwarded() {
  const fields = { to: SERVICE, sourcePort: 2000, port: 9, data: Buffer.from('x') };
  tail.send(udp({ from: '192.168.77.2', ...fields }));
  await tail.settled('100.64.9.9', '100.101.102.103');
  const script = `
    const socket = require('node:dgram').createSocket('udp4');
    socket.on('message', (message) => { console.log(message.toString()); process.exit(0); });
    socket.bind(9, () => socket.send('question', 9, '${SERVICE}'));`;
  const asking = exec(inContainer(process.execPath, '-e', script));
  const before = await upTo(({ from, to }) => from === CONTAINER && to === SERVICE);
  tun.send(
    udp({ from: POD, to: CONTAINER, sourcePort: 1000, port: 9, data: Buffer.from('unasked') }),
    udp({ from: SERVICE, to: CONTAINER, sourcePort: 9, port: 9, data: Buffer.from('answer') }),
  );
  const { stdout } = await asking;
  return { 'a neighbour sent': before, 'a container heard': stdout.trim() };
}

/** Returns what came out of the tunnel before the packet that fits. */
async function upTo(fits: (seen: Seen) => boolean): Promise<string[]> {
  const before: string[] = [];
  for (;;) {
    const seen = await tun.next('a packet', () => true);
    if (fits(seen)) return before;
    before.push(`${seen.what} to ${seen.to}`);
  }
}
