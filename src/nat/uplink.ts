/**
 * Finds the interface by which the manager's pod is in the cluster's network, and its MTU. Reads only.
 */
import { CzError } from '../base/errors.js';
import { integer, list, object, text } from '../base/shape.js';
import type { Uplink } from './engine.js';

/** Limits of an MTU that IPv4 can be routed by. RFC 791 */
const MTU_LEAST = 576;
const MTU_MOST = 65535;
/** IFNAMSIZ, linux/if.h. */
const NAME_LIMIT = 16;

const links = list(
  object(
    { ifname: text(NAME_LIMIT), mtu: integer(0, 2 ** 31) },
    { addr_info: list(object({}, { local: text(64) })) },
  ),
);

/**
 * Returns the interface that carries the pod's address, out of the JSON of `ip -j -4 address show`. Pure.
 * @throws NAT_FAILED none does, or not with an MTU that fits · MALFORMED
 */
export function findUplink(addresses: unknown, podIP: string): Uplink {
  const link = links(addresses).find(({ addr_info }) => addr_info?.some(({ local }) => local === podIP));
  if (link === undefined) throw new CzError('NAT_FAILED', `no interface has the pod's address "${podIP}"`);
  const { ifname: interfaceName } = link;
  // Loopback and virtual interfaces may exceed what an IPv4 packet can hold.
  const mtu = Math.min(link.mtu, MTU_MOST);
  if (mtu < MTU_LEAST) throw new CzError('NAT_FAILED', `an MTU of ${mtu} on "${interfaceName}" is too small`);
  return { interfaceName, mtu };
}
