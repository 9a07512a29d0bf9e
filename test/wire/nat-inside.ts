/**
 * Runs inside a network namespace of its own (nat.test.ts), which is the manager's pod: its eth0 leads to a second
 * namespace that holds every other address of a cluster, allowed and forbidden. Sessions are TUNs into which
 * hand-made packets are written. Prints what came back, and what came out at the far end, as JSON.
 */
import { createServer } from 'node:net';
import { readlinkSync } from 'node:fs';
import { setForwarding } from '../../src/base/addon.js';
import { exec, start } from '../../src/base/exec.js';
import { silentLog } from '../../src/base/log.js';
import { createNftablesEngine } from '../../src/nat/nftables.js';
import { until } from '../support/wait.js';
import { ACK, isPong, parsePacket, ping, SYN, tcp, udp, udpFragments } from './nat-packets.js';
import { RawTun } from './nat-tun.js';

const POD_IP = '10.244.1.10';
const ONE = '198.18.0.1';
const TWO = '198.18.0.2';
const POD = '10.244.2.20';
/** A pod that only forged packets are sent to. */
const VICTIM = '10.244.2.21';
const SERVICE = '10.96.0.10';
const NODE = '10.244.9.9';
const METADATA = '169.254.169.254';
const RESOLVER = '169.254.20.10';
const OUTSIDE = '8.8.8.8';
const EXTRA = '10.50.0.7';
/** Addresses that answer at the far end. */
const FAR = [POD, VICTIM, SERVICE, NODE, METADATA, RESOLVER, OUTSIDE, EXTRA, '10.244.1.1'];
const NETWORKS = {
  allowed: ['10.244.0.0/16', '10.96.0.0/12'],
  forbidden: [NODE, '10.244.1.1'],
  resolvers: [RESOLVER],
};

const far = start(['unshare', '-n', 'sleep', 'infinity'], { stdio: 'ignore' });
const farPid = String(far.pid);
const inFar = (...argv: string[]): [string, ...string[]] => [
  'nsenter',
  `--net=/proc/${farPid}/ns/net`,
  ...argv,
];
await until('the far namespace', () => namespaceOf(farPid) !== namespaceOf('self'));

function namespaceOf(pid: string): string {
  return readlinkSync(`/proc/${pid}/ns/net`);
}

await exec(['ip', '-batch', '-'], {
  input: `link set lo up
link add eth0 mtu 1450 type veth peer name far0 netns ${farPid}
address add ${POD_IP}/24 dev eth0
link set eth0 up
`,
});
await exec(inFar('ip', '-batch', '-'), {
  input: `link set lo up
link set far0 mtu 1450 up
link add narrow0 mtu 1280 type veth peer name narrow1
link set narrow0 up
link set narrow1 up
${FAR.map((address) => `address add ${address}/${address === '10.244.1.1' ? 24 : 32} dev far0`).join('\n')}
route add 10.244.3.0/24 dev narrow0
route add 198.18.0.0/15 via ${POD_IP}
`,
});
await exec(['ip', 'route', 'add', 'default', 'via', '10.244.1.1']);
// The kernel gives one sender six errors and then one a second: here every refusal is wanted. icmp(7)
await exec(['sysctl', '-qw', 'net.ipv4.icmp_ratelimit=0']);
await exec(inFar('nft', '-f', '-'), {
  input: `table ip seen {
  set hits { type ipv4_addr . ipv4_addr . inet_proto; size 65535; flags dynamic; }
  chain prerouting { type filter hook prerouting priority raw; policy accept;
    iifname "far0" update @hits { ip saddr . ip daddr . ip protocol }
  }
}
`,
});
await exec(inFar('sysctl', '-qw', 'net.ipv4.conf.all.forwarding=1'));

/** Echoes datagrams; "again" makes it send once more to who asked first. Accepts connections on TCP port 80. */
const SERVER = `
const udp = require('node:dgram').createSocket('udp4');
let first;
udp.on('message', (message, peer) => {
  first ??= peer;
  if (message.toString() === 'again') udp.send('late', first.port, first.address);
  udp.send(message, peer.port, peer.address);
});
udp.bind(7, '${POD}', () => require('node:net').createServer(() => {}).listen(80, '${POD}', () => console.log('up')));
`;
const server = start(inFar(process.execPath, '-e', SERVER), { stdio: ['ignore', 'pipe', 'inherit'] });
let serving = false;
server.stdout?.once('data', () => (serving = true));
await until('the pod serves', () => serving);

/** Connections that reach a port of the manager's own. */
let intruders = 0;
const own = createServer((socket) => {
  intruders += 1;
  socket.destroy();
});
await new Promise<void>((resolve) => own.listen(443, '0.0.0.0', () => resolve()));

const results: Record<string, unknown> = {};
let knocks = 0;
const nat = createNftablesEngine({ log: silentLog, setForwarding });
await nat.prepare({ podIP: POD_IP });
results['uplink'] = await nat.prepare({ podIP: POD_IP });

const one = await new RawTun('cz0').opened();
const two = await new RawTun('cz1').opened();
await nat.addSession({ interfaceName: 'cz0', address: ONE });
await nat.addSession({ interfaceName: 'cz1', address: TWO });
results['mtu'] = (await exec(['ip', '-o', 'link', 'show', 'dev', 'cz0'])).stdout.match(/mtu (\d+)/)?.[1];

// Before anything is announced, nothing is reachable.
one.send(ping({ from: ONE, to: POD, id: 1 }));
results['unannounced'] = (await one.next('a refusal', () => true)).what;
await nat.setNetworks(NETWORKS);

results['allowed'] = await allowed();
results['forbidden'] = await forbidden();
results['forged'] = await forged();
results['inbound'] = await inbound();
results['mid-connection'] = await midConnection();
results['fragments'] = await fragments();
results['path mtu'] = await pathMtu();
results['far'] = await reachedFar();
results['changes'] = await changes();
results['successor'] = await successor();
results['intruders'] = intruders;
await nat.close();
await nat.close();
results['left'] = (await exec(['nft', 'list', 'ruleset'])).stdout;
console.log(JSON.stringify(results));
for (const session of [one, two]) session.close();
own.close();
far.kill('SIGKILL');
server.kill('SIGKILL');

/** A closed port refuses, a datagram to nobody is answered, an echo comes back: by the pod's own address. */
async function allowed() {
  const answers: string[] = [];
  for (const to of [POD, SERVICE]) {
    one.send(tcp({ from: ONE, to, sourcePort: 40_000, port: 81, flags: SYN }));
    const reset = await one.next('a reset', ({ what }) => what.startsWith('tcp'));
    one.send(udp({ from: ONE, to, sourcePort: 40_000, port: 9, data: Buffer.from('x') }));
    const nobody = await one.next('an error', ({ what }) => what.startsWith('icmp'));
    one.send(ping({ from: ONE, to, id: 77 }));
    const pong = await one.next('an echo', (seen) => isPong(seen, 77));
    for (const { what, from, port } of [reset, nobody, pong])
      answers.push(`${what} from ${from} to port ${port}`);
  }
  one.send(udp({ from: ONE, to: RESOLVER, sourcePort: 40_000, port: 53, data: Buffer.from('x') }));
  const resolver = await one.next('the resolver', ({ what }) => what.startsWith('icmp'));
  answers.push(`${resolver.what} from ${resolver.from}`);
  one.send(tcp({ from: ONE, to: RESOLVER, sourcePort: 40_000, port: 53, flags: SYN }));
  answers.push((await one.next('the resolver', ({ what }) => what.startsWith('tcp'))).what);
  return answers;
}

/** TCP, UDP and ICMP to each place that no session may reach. */
async function forbidden() {
  const places = {
    node: NODE,
    gateway: '10.244.1.1',
    metadata: METADATA,
    'link-local': '169.254.1.1',
    'the resolver, other ports': RESOLVER,
    loopback: '127.0.0.1',
    'this network': '0.0.0.0',
    multicast: '224.0.0.251',
    broadcast: '255.255.255.255',
    'the pod network’s broadcast': '10.244.1.255',
    reserved: '240.0.0.1',
    outside: OUTSIDE,
    'a target not permitted': EXTRA,
    'the manager’s own port': POD_IP,
    'the other session': TWO,
    itself: ONE,
  };
  const answers: Record<string, string[]> = {};
  for (const [name, to] of Object.entries(places)) {
    one.send(tcp({ from: ONE, to, sourcePort: 41_000, port: 443, flags: SYN }));
    one.send(udp({ from: ONE, to, sourcePort: 41_000, port: 443, data: Buffer.from('x') }));
    one.send(ping({ from: ONE, to, id: 5 }));
    answers[name] = [...new Set(await one.settled(ONE, POD))];
  }
  return { answers, 'the other session got': await two.settled(TWO, POD) };
}

/** Sources that are not the session's own get no answer, and nor does their owner. */
async function forged() {
  for (const from of [TWO, POD_IP, POD, '127.0.0.1'])
    one.send(
      tcp({ from, to: VICTIM, sourcePort: 42_000, port: 81, flags: SYN }),
      udp({ from, to: VICTIM, sourcePort: 42_000, port: 7, data: Buffer.from('forged') }),
      ping({ from, to: VICTIM, id: 6 }),
    );
  return [...(await one.settled(ONE, POD)), ...(await two.settled(TWO, POD))];
}

/** The far end opens connections to the session's address, which it routes through the manager's pod. */
async function inbound() {
  const script = `
    const socket = require('node:dgram').createSocket('udp4');
    require('node:net').connect({ host: '${ONE}', port: 22 }).on('error', () => {});
    socket.send('x', 53, '${ONE}', () => process.exit(0));`;
  await exec(inFar(process.execPath, '-e', script));
  return one.settled(ONE, POD);
}

/** A connection that this manager knows nothing of ends at once. */
async function midConnection() {
  one.send(tcp({ from: ONE, to: POD, sourcePort: 43_000, port: 80, flags: ACK, acknowledged: 5555 }));
  const { what, from, sequence } = await one.next('a reset', () => true);
  return { what, from, sequence };
}

async function fragments() {
  const data = Buffer.alloc(4000, 'fragment');
  one.send(...udpFragments({ from: ONE, to: POD, sourcePort: 44_000, port: 7, data }));
  const parts: Buffer[] = [];
  for (let bytes = 0; bytes < 8 + data.length; bytes = Buffer.concat(parts).length)
    parts.push((await one.next('a fragment', ({ from }) => from === POD)).payload);
  return { parts: parts.length, same: Buffer.concat(parts).subarray(8).equals(data) };
}

async function pathMtu() {
  const data = Buffer.alloc(1350);
  one.send(udp({ from: ONE, to: '10.244.3.3', sourcePort: 45_000, port: 7, data, df: true }));
  const { what, payload } = await one.next('the path’s MTU', ({ what }) => what === 'icmp 3/4');
  const inner = parsePacket(payload.subarray(8));
  return { what, mtu: payload.readUInt16BE(6), inner: `${inner.from}:${inner.sourcePort} to ${inner.to}` };
}

async function changes() {
  const knock = async (to: string) => {
    one.send(ping({ from: ONE, to, id: (knocks += 1) }));
    return (await one.next('an answer', () => true)).what;
  };
  await nat.setNetworks({
    ...NETWORKS,
    allowed: [...NETWORKS.allowed, '10.50.0.0/24'],
    forbidden: ['10.244.1.1'],
  });
  const after = [await knock(EXTRA), await knock(NODE)];
  await nat.setNetworks({ ...NETWORKS, allowed: ['10.244.0.0/16'], forbidden: NETWORKS.forbidden });
  const back = [await knock(EXTRA), await knock(NODE), await knock(SERVICE), await knock(POD)];
  // Not even a cluster that names them as its own makes these reachable.
  await nat.setNetworks({ ...NETWORKS, allowed: ['10.244.0.0/16', '169.254.0.0/16', '198.18.0.0/15'] });
  const never = [await knock(METADATA), await knock(TWO)];
  return { after, back, never };
}

/** A session ends, and another gets its interface and address: nothing of the first one's connections is the second's. */
async function successor() {
  const datagram = (from: string, data: string) =>
    udp({ from, to: POD, sourcePort: 46_000, port: 7, data: Buffer.from(data) });
  const segment = (flags: number, acknowledged = 0) =>
    tcp({
      from: ONE,
      to: POD,
      sourcePort: 46_000,
      port: 80,
      flags,
      sequence: 1000 + (flags & ACK ? 1 : 0),
      acknowledged,
    });
  await nat.removeSession({ interfaceName: 'cz0', address: ONE });
  await nat.addSession({ interfaceName: 'cz0', address: ONE });
  one.send(segment(SYN));
  const accepted = await one.next('an accepted connection', ({ what }) => what === 'tcp syn ack');
  one.send(segment(ACK, accepted.sequence + 1));
  const before = await one.settled(ONE, POD);

  await nat.removeSession({ interfaceName: 'cz0', address: ONE });
  await nat.addSession({ interfaceName: 'cz0', address: ONE });
  two.send(datagram(TWO, 'again'));
  await two.next('the echo', ({ what }) => what === 'udp');
  const late = await one.settled(ONE, POD);
  one.send(segment(ACK, accepted.sequence + 1));
  const old = await one.next('a reset', ({ what }) => what.startsWith('tcp'));
  return { before, late, old: old.what };
}

/** Returns what came out at the far end: sources, destinations, protocols. */
async function reachedFar() {
  const { stdout } = await exec(inFar('nft', '-j', 'list', 'set', 'ip', 'seen', 'hits'));
  const found = [...stdout.matchAll(/"concat": \["([\d.]+)", "([\d.]+)", "?(\w+)"?\]/g)];
  const sources = new Set(found.map(([, from]) => from));
  const targets = new Set(found.map(([, , to, protocol]) => `${to} ${protocol}`));
  return { sources: [...sources], targets: [...targets].map(String).sort() };
}
