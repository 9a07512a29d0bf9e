/**
 * A laptop's resolver set-up inside a network, mount and process namespace of its own: a private /etc and /run, an
 * outside DNS on one interface and a cluster's on another, resolv.conf in one of the forms that laptops have.
 */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { exec, start } from '../../src/base/exec.js';
import { openFakeDns, type FakeDns } from './dns-fake.js';
import { CLUSTER_ZONE, OUTSIDE_ZONE } from './dns-zones.js';
import { BUS_COMMAND, BUS_CONFIG } from './systemd-resolved.js';
import { waitFor } from './wait-for.js';

/** `unmountable`: a plain file, and nobody may mount. */
export type ResolvConfForm = 'file' | 'link' | 'mount' | 'missing' | 'unmountable' | 'resolved';

export const CLUSTER_DNS = '10.96.0.10';
const OUTSIDE_DNS = '192.0.2.53';
const OTHER_OUTSIDE_DNS = '192.0.2.54';
export const OWN_DNS = '198.18.255.53';
export const INTERFACE = 'cz0';

/** What resolv.conf says before cz. */
export const LAPTOP_TEXT = `nameserver ${OUTSIDE_DNS}\nsearch corp.example\noptions timeout:2\n`;

/** On everybody's PATH, and empty on Debian. */
const PROGRAMS = '/usr/local/sbin';

export interface Laptop {
  readonly cluster: FakeDns;
  readonly outside: FakeDns;
  close(): Promise<void>;
}

/** Sets it up. `resolvedFolder`: where Debian's systemd-resolved package is unpacked, for that form. */
export async function openLaptop(form: ResolvConfForm, resolvedFolder: string): Promise<Laptop> {
  await openPrivateFolders();
  await openInterfaces();
  writeResolvConf(form);
  if (form === 'mount') await exec(['mount', '--bind', '/run/by-runtime', '/etc/resolv.conf']);
  if (form === 'unmountable') await forbidMounting();
  const cluster = await openFakeDns(CLUSTER_DNS, 53, CLUSTER_ZONE);
  const outside = await openFakeDns(OUTSIDE_DNS, 53, OUTSIDE_ZONE);
  const other = await openFakeDns(OTHER_OUTSIDE_DNS, 53, OUTSIDE_ZONE);
  const ends = form === 'resolved' ? await startResolved(resolvedFolder) : [];
  return {
    cluster,
    outside,
    async close() {
      for (const end of ends) end();
      await Promise.all([cluster.close(), outside.close(), other.close()]);
    },
  };
}

/** An /etc that is the machine's own to read and ours to write, and an empty /run. */
async function openPrivateFolders(): Promise<void> {
  await exec(['mount', '-t', 'tmpfs', 'tmpfs', '/run']);
  for (const folder of ['/run/upper', '/run/work', '/run/cz', '/run/NetworkManager']) mkdirSync(folder);
  const layers = 'lowerdir=/etc,upperdir=/run/upper,workdir=/run/work';
  await exec(['mount', '-t', 'overlay', 'overlay', '-o', layers, '/etc']);
  writeFileSync('/etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n');
}

async function openInterfaces(): Promise<void> {
  await exec(['ip', 'link', 'set', 'lo', 'up']);
  for (const name of ['up0', INTERFACE]) {
    await exec(['ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}-peer`]);
    for (const end of [name, `${name}-peer`]) await exec(['ip', 'link', 'set', end, 'up']);
  }
  for (const address of [OUTSIDE_DNS, OTHER_OUTSIDE_DNS]) {
    await exec(['ip', 'address', 'add', `${address}/24`, 'dev', 'up0']);
  }
  for (const address of [OWN_DNS, '198.18.0.2']) {
    await exec(['ip', 'address', 'add', `${address}/32`, 'dev', INTERFACE]);
  }
  await exec(['ip', 'address', 'add', `${CLUSTER_DNS}/32`, 'dev', 'lo']);
}

function writeResolvConf(form: ResolvConfForm): void {
  rmSync('/etc/resolv.conf', { force: true });
  switch (form) {
    case 'file':
    case 'unmountable':
      return writeFileSync('/etc/resolv.conf', LAPTOP_TEXT);
    case 'link':
      mkdirSync('/run/network');
      writeFileSync('/run/network/resolv.conf', LAPTOP_TEXT);
      return symlinkSync('../run/network/resolv.conf', '/etc/resolv.conf');
    case 'mount':
      writeFileSync('/run/by-runtime', LAPTOP_TEXT);
      return writeFileSync('/etc/resolv.conf', '');
    case 'resolved':
      return symlinkSync('../run/systemd/resolve/stub-resolv.conf', '/etc/resolv.conf');
    case 'missing':
  }
}

/** From here on the kernel refuses `mount`, as in a container without CAP_SYS_ADMIN. */
async function forbidMounting(): Promise<void> {
  await exec(['mount', '-t', 'tmpfs', 'tmpfs', PROGRAMS]);
  const text =
    '#!/bin/sh\nexec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin /usr/bin/mount "$@"\n';
  writeFileSync(join(PROGRAMS, 'mount'), text, { mode: 0o755 });
}

/** Debian's systemd-resolved under a message bus of its own, without systemd; returns how to end both. */
async function startResolved(folder: string): Promise<(() => void)[]> {
  appendFileSync('/etc/passwd', 'systemd-resolve:x:990:990::/:/usr/sbin/nologin\n');
  appendFileSync('/etc/group', 'systemd-resolve:x:990:\n');
  mkdirSync('/run/dbus');
  mkdirSync('/run/systemd/resolve', { recursive: true });
  chownSync('/run/systemd/resolve', 990, 990);
  writeFileSync('/run/bus.conf', BUS_CONFIG);
  await exec(['mount', '-t', 'tmpfs', 'tmpfs', PROGRAMS]);
  copyFileSync(join(folder, 'usr/bin/resolvectl'), join(PROGRAMS, 'resolvectl'));
  chmodSync(join(PROGRAMS, 'resolvectl'), 0o755);
  const bus = start(BUS_COMMAND, {
    stdio: 'ignore',
  });
  await waitFor('the message bus', () => exists('/run/dbus/system_bus_socket'));
  const program = join(folder, 'lib/systemd/systemd-resolved');
  const resolved = start([program], { stdio: 'ignore' });
  await waitFor(
    'systemd-resolved',
    async () => (await exec(['resolvectl', 'dns'], { okCodes: [0, 1] })).exitCode === 0,
  );
  await exec(['resolvectl', 'dns', 'up0', OUTSIDE_DNS]);
  await exec(['resolvectl', 'domain', 'up0', 'corp.example']);
  await waitFor('its resolv.conf', () =>
    readFileSync('/run/systemd/resolve/resolv.conf', 'utf8').includes(OUTSIDE_DNS),
  );
  return [() => void resolved.kill(), () => void bus.kill()];
}

async function exists(path: string): Promise<boolean> {
  return (await exec(['test', '-e', path], { okCodes: [0, 1] })).exitCode === 0;
}
