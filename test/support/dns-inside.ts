/**
 * Runs inside namespaces of its own (dns-laptop.test.ts): a laptop's resolver is pointed at cz, commands are run, and it
 * is put back in the way that the scenario says. Prints what was seen as JSON.
 */
import { lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { exec } from '../../src/base/exec.js';
import { openJournal, replayJournal } from '../../src/base/undo.js';
import { chooseOsResolver } from '../../src/dns/choose.js';
import { openDns } from '../../src/dns/open.js';
import type { LaptopResolver } from '../../src/dns/os-resolver.js';
import { checkLookupsArrive } from '../../src/dns/probe.js';
import { recoverResolvConf } from '../../src/dns/resolv-conf-file.js';
import { planTarget } from '../../src/dns/target.js';
import { CLUSTER_DNS, INTERFACE, openLaptop, OWN_DNS, type ResolvConfForm } from './dns-laptop.js';
import { TRIED_POLICY } from './dns-zones.js';
import { waitFor } from './wait-for.js';

interface Scenario {
  readonly form: ResolvConfForm;
  readonly resolvedFolder: string;
  readonly commands: readonly string[][];
  /** How it ends: undone, by the journal after a crash, or by looking at the file alone. */
  readonly end: 'undo' | 'replay' | 'recover';
  /** Another program's text, written while cz is connected. */
  readonly foreign?: { readonly path: string; readonly text: string };
}

const scenario: Scenario = JSON.parse(process.argv[2] ?? '{}');
process.env['PATH'] = `/usr/local/sbin:${process.env['PATH'] ?? ''}`;
const laptop = await openLaptop(scenario.form, scenario.resolvedFolder);
const read = () => (isThere('/etc/resolv.conf') ? readFileSync('/etc/resolv.conf', 'utf8') : undefined);

const journal = await openJournal('/run/cz/journal');
const resolver = await chooseOsResolver({
  record: (step, action) => journal.record(step, action),
  runFolder: '/run/cz',
});
const before = read();
const asked = await resolver.read();
const policy = { ...TRIED_POLICY, laptopDomains: asked.search };
const outside = (now: LaptopResolver) => now.servers.map((address) => ({ address }));
const dns = await openDns({
  address: OWN_DNS,
  policy,
  cluster: [{ address: CLUSTER_DNS }],
  outside: outside(asked),
});
const target = planTarget({ server: OWN_DNS, interfaceName: INTERFACE, policy });
await resolver.apply(target, () => checkLookupsArrive(dns));
const changes: LaptopResolver[] = [];
resolver.watch((now) => {
  changes.push(now);
  dns.update({ outside: outside(now) });
});
const during = read();
if (scenario.foreign !== undefined) {
  writeFileSync(scenario.foreign.path, scenario.foreign.text);
  await waitFor(
    'the other program being followed',
    () => changes.length > 0 && read()?.startsWith('# cz') === true,
  );
}
const results: string[] = [];
for (const command of scenario.commands) {
  results.push((await exec(command, { okCodes: [0, 1, 2, 7, 9] })).stdout.trim());
}
const domains = scenario.form === 'resolved' ? (await exec(['resolvectl', 'domain', INTERFACE])).stdout : '';
await putBack();
const after = read();
const domainsAfter =
  scenario.form === 'resolved' ? (await exec(['resolvectl', 'domain', INTERFACE])).stdout : '';
await dns.close();
await journal.close();
await laptop.close();
const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
  .split('\n')
  .filter((line) => line.includes('/run/cz') || line.includes('/cz/resolv.conf'));
console.log(
  JSON.stringify({
    mechanism: resolver.mechanism,
    before,
    during,
    after,
    results,
    domains,
    domainsAfter,
    changes,
    mounts,
    left: readdirSync('/etc').filter((name) => name.includes('cz-backup')),
    link: isThere('/etc/resolv.conf') && lstatSync('/etc/resolv.conf').isSymbolicLink(),
    cluster: laptop.cluster.asked,
    outside: laptop.outside.asked,
  }),
);

async function putBack(): Promise<void> {
  if (scenario.end === 'undo') return resolver.undo();
  resolver.close();
  if (scenario.end === 'recover') await recoverResolvConf();
  else await replayJournal('/run/cz/journal');
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
