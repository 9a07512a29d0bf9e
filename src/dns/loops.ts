/**
 * Whether a server that we ask comes back to ask us: a forwarder on this machine that takes its servers from the
 * resolv.conf that now names cz. A name that nobody knows is asked of it; if the question arrives here, it loops.
 */
import { randomBytes } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { respondWithCode } from './answer.js';
import type { Resolver } from './resolver.js';
import { openUpstream, type UpstreamServer } from './upstream.js';
import { nameOfLabels, RCODE, type WireName } from './wire.js';

/** Our choice: the way is within this machine. */
const WAIT_MS = 500;

/** Returns those of the servers whose questions come back to `resolver`. Others than this machine's are not asked. */
export async function findLoops(
  servers: readonly UpstreamServer[],
  own: readonly string[],
  resolver: Pick<Resolver, 'intercept'>,
): Promise<UpstreamServer[]> {
  const here = addressesHere();
  const suspects = servers.filter(({ address }) => address.startsWith('127.') || here.has(address));
  const looping = await Promise.all(suspects.map((server) => comesBack(server, own, resolver)));
  return suspects.filter((_, index) => looping[index]);
}

async function comesBack(
  server: UpstreamServer,
  own: readonly string[],
  resolver: Pick<Resolver, 'intercept'>,
): Promise<boolean> {
  const upstream = openUpstream({ servers: [server], own, attemptsMs: [WAIT_MS] });
  const name = strangeName();
  let arrived = false;
  const end = resolver.intercept(name, (query) => {
    arrived = true;
    return respondWithCode(query, RCODE.serverFailure);
  });
  await upstream.ask(`${name}\0\x01\0\x01\0`).catch(() => undefined);
  end();
  upstream.close();
  return arrived;
}

/** No special-use name (RFC 6761): forwarders answer those themselves. */
function strangeName(): WireName {
  return nameOfLabels(['cz-loop', randomBytes(8).toString('hex')]) ?? '';
}

function addressesHere(): Set<string> {
  return new Set(
    Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []),
  );
}
