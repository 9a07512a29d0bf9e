/**
 * The Debian packages that the cluster and its image take programs from. None of them starts a service. As root what is
 * missing is installed; else it is named, with the command that does it.
 */
import { access } from 'node:fs/promises';
import { CzError } from '../../../src/base/errors.js';
import { exec } from '../../../src/base/exec.js';
import { telling } from './voice.js';

const INSTALL_TIMEOUT_MS = 10 * 60_000;

/** A file that the package brings, and the package. Redis comes by its tools: they are the server too, without a service. */
const NEEDED: readonly (readonly [string, string])[] = [
  ['/usr/sbin/runc', 'runc'],
  ['/usr/lib/cni/bridge', 'containernetworking-plugins'],
  ['/usr/sbin/iptables', 'iptables'],
  ['/usr/sbin/nft', 'nftables'],
  ['/usr/sbin/conntrack', 'conntrack'],
  ['/bin/busybox', 'busybox-static'],
  ['/usr/bin/iperf3', 'iperf3'],
  ['/usr/bin/dig', 'bind9-dnsutils'],
  ['/usr/bin/tcpdump', 'tcpdump'],
  ['/usr/bin/redis-check-rdb', 'redis-tools'],
  ['/usr/bin/openssl', 'openssl'],
  ['/usr/bin/nsenter', 'util-linux'],
  ['/sbin/ip', 'iproute2'],
  ['/sbin/sysctl', 'procps'],
  ['/bin/ping', 'iputils-ping'],
  ['/usr/bin/curl', 'curl'],
  ['/usr/bin/sudo', 'sudo'],
];

/** Installs the packages that are missing. @throws PACKAGES_MISSING where apt is not there or did not do it */
export async function installPackages(): Promise<void> {
  const missing = await missingPackages();
  if (missing.length === 0) return;
  const hint = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  await telling(`installing ${missing.join(' ')}`, () => install(missing)).catch((cause: unknown) => {
    throw new CzError('PACKAGES_MISSING', `needed: ${missing.join(', ')}`, { cause, hint });
  });
}

/** Returns the packages that are missing. */
export async function missingPackages(): Promise<string[]> {
  const there = await Promise.all(NEEDED.map(([file]) => exists(file)));
  return NEEDED.filter((_, index) => there[index] === false).map(([, name]) => name);
}

async function install(names: readonly string[]): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const options = { env, timeoutMs: INSTALL_TIMEOUT_MS };
  await exec(['apt-get', 'update', '-q'], options);
  await exec(['apt-get', 'install', '-q', '-y', '--no-install-recommends', ...names], options);
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
