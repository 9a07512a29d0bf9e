/**
 * Laptops for the tests of the plan, as `ip -j` describes them.
 */
import { parseHost, type HostNetworks } from '../../../src/routes/host.js';

const LOCAL = { priority: 0, src: 'all', table: 'local' };
const MAIN = { priority: 32766, src: 'all', table: 'main' };
const DEFAULT = { priority: 32767, src: 'all', table: 'default' };

interface Parts {
  readonly addresses?: Readonly<Record<string, string>>;
  readonly routes?: readonly Readonly<Record<string, unknown>>[];
  readonly rules?: readonly Readonly<Record<string, unknown>>[];
}

/** Returns a laptop on a home network with these addresses, routes and rules beside. */
export function laptop({ addresses = {}, routes = [], rules = [] }: Parts = {}): HostNetworks {
  const all = { lo: '127.0.0.1/8', wlan0: '192.168.1.23/24', ...addresses };
  const links = Object.entries(all).map(([ifname, address]) => {
    const [local, prefix] = address.split('/');
    return { ifname, addr_info: [{ family: 'inet', local, prefixlen: Number(prefix) }] };
  });
  return parseHost(
    links,
    [
      { dst: 'default', gateway: '192.168.1.1', dev: 'wlan0', protocol: 'dhcp', metric: 600, flags: [] },
      { dst: '192.168.1.0/24', dev: 'wlan0', protocol: 'kernel', scope: 'link', flags: [] },
      { type: 'local', dst: '127.0.0.0/8', dev: 'lo', table: 'local', flags: [] },
      ...routes,
    ],
    [LOCAL, ...rules, MAIN, DEFAULT],
  );
}

/** A laptop with Docker's bridge. */
export const docker = laptop({
  addresses: { docker0: '172.17.0.1/16' },
  routes: [{ dst: '172.17.0.0/16', dev: 'docker0', protocol: 'kernel', flags: ['linkdown'] }],
});
