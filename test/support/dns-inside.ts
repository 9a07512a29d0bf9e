/**
 * Runs inside a network and a mount namespace of its own (dns.test.ts): a cluster's DNS, an outside DNS, cz's own between
 * them, and the laptop's /etc/resolv.conf changed by the mechanism under test. Runs one scenario and prints what it
 * found as JSON.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exec } from '../../src/base/exec.js';
import { openJournal } from '../../src/base/undo.js';
import { createResolvConf } from '../../src/dns/resolv-conf.js';
import { openDns } from '../../src/dns/open.js';
import { checkLookupsArrive } from '../../src/dns/probe.js';
import { openFakeDns } from './dns-fake.js';
import { CLUSTER_ZONE, OUTSIDE_ZONE, TRIED_POLICY } from './dns-zones.js';

const CLUSTER = '10.96.0.10';
const OUTSIDE = '192.0.2.53';
const OWN = '198.18.255.53';

const folder = mkdtempSync(join(tmpdir(), 'cz-dns-'));
await exec(['ip', 'link', 'set', 'lo', 'up']);
for (const address of [CLUSTER, OUTSIDE, OWN])
  await exec(['ip', 'address', 'add', `${address}/32`, 'dev', 'lo']);
const cluster = await openFakeDns(CLUSTER, 53, CLUSTER_ZONE);
const outside = await openFakeDns(OUTSIDE, 53, OUTSIDE_ZONE);

const commands: string[][] = JSON.parse(process.argv[2] ?? '[]');
const journal = await openJournal(join(folder, 'journal'));
const resolver = createResolvConf({ record: journal.record, runFolder: folder });
const before = readFileSync('/etc/resolv.conf', 'utf8');
const laptop = await resolver.read();
const dns = await openDns({
  address: OWN,
  policy: { ...TRIED_POLICY, laptopDomains: laptop.search },
  cluster: [{ address: CLUSTER }],
  outside: laptop.servers.map((address) => ({ address })),
});
await resolver.apply({
  server: OWN,
  interfaceName: 'lo',
  searchDomains: TRIED_POLICY.connected.map((namespace) => `${namespace}.svc.${TRIED_POLICY.clusterDomain}`),
  routedDomains: [],
});
await checkLookupsArrive(dns);
const during = readFileSync('/etc/resolv.conf', 'utf8');
const results: string[] = [];
for (const command of commands) {
  const { stdout } = await exec(command, { okCodes: [0, 1, 2, 7, 9] });
  results.push(stdout.trim());
}
await resolver.undo();
const after = readFileSync('/etc/resolv.conf', 'utf8');
await dns.close();
await journal.close();
await Promise.all([cluster.close(), outside.close()]);
console.log(
  JSON.stringify({ before, during, after, results, cluster: cluster.asked, outside: outside.asked }),
);
rmSync(folder, { recursive: true });
