/**
 * Sets up the laptop's TUN interface: its session address, the resolver's address, MTU, up. All of it vanishes with
 * the TUN.
 */
import { parseAddress, formatAddress } from '../base/cidr.js';
import { CzError, messageOf } from '../base/errors.js';
import { ipBatch, ipJson, parseHost, type HostNetworks } from './host.js';

/** What the interface gets. */
export interface InterfaceSettings {
  /** The session's address, which packets into the cluster carry as their source. */
  readonly address: string;
  /** The resolver's address: reached on the laptop alone, never a source of packets (scope host). */
  readonly dnsAddress: string;
  /** Bytes, 576 … 65535. */
  readonly mtu: number;
}

/**
 * Makes the interface carry exactly these settings; a session address of before is replaced, the routes stay.
 * @throws INTERFACE_FAILED with what `ip` said · IP_MISSING
 */
export async function configureInterface(name: string, settings: InterfaceSettings): Promise<void> {
  for (const address of [settings.address, settings.dnsAddress])
    if (parseAddress(address) === undefined)
      throw new CzError('INTERFACE_FAILED', `"${address}" is no IPv4 address`);
  if (!Number.isInteger(settings.mtu) || settings.mtu < 576 || settings.mtu > 65535)
    throw new CzError('INTERFACE_FAILED', `an MTU of ${settings.mtu} is out of range`);
  try {
    const host = parseHost(await ipJson(['-4', 'address', 'show']), [], []);
    await ipBatch(planInterface(name, settings, host));
  } catch (cause) {
    throw new CzError('INTERFACE_FAILED', `setting up interface "${name}": ${messageOf(cause)}`, { cause });
  }
}

/** Returns the `ip` commands: link first, new addresses, then old ones away, so that routes are never without a source. Pure. */
export function planInterface(name: string, settings: InterfaceSettings, host: HostNetworks): string[] {
  const wanted = new Map([
    [settings.address, ''],
    [settings.dnsAddress, ' scope host'],
  ]);
  const present = host.addresses
    .filter((own) => own.interfaceName === name)
    .map((own) => formatAddress(own.address));
  return [
    `link set dev ${name} addrgenmode none`,
    `link set dev ${name} mtu ${settings.mtu} up`,
    ...[...wanted]
      .filter(([address]) => !present.includes(address))
      .map(([address, scope]) => `address add ${address}/32 dev ${name}${scope}`),
    ...present
      .filter((address) => !wanted.has(address))
      .map((address) => `address delete ${address}/32 dev ${name}`),
  ];
}
