/**
 * One laptop's stay: its address, its TUN with the forwarding rules, its link. It outlives the websocket: when that
 * is lost everything here stays, and the next websocket of the same laptop is attached to the same link.
 */
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { NatEngine } from '../nat/engine.js';
import type { Offloads, TunDevice } from '../tun/device.js';
import { openTun } from '../tun/linux.js';
import type { Carrier } from '../tunnel/carrier.js';
import { createLink, type Link, type ResumePoint } from '../tunnel/link.js';

export interface ManagedSession {
  readonly uid: string;
  readonly address: string;
  readonly link: Link;
  readonly offloads: Offloads;
  /** Takes a websocket whose laptop has proved itself; one that was attached before is ended. */
  attach(carrier: Carrier, resume: readonly ResumePoint[] | undefined): void;
  /** Ends the link with this code and undoes the forwarding. Idempotent. */
  end(code: string): Promise<void>;
}

export interface ManagedSessionOptions {
  readonly uid: string;
  readonly address: string;
  readonly nat: NatEngine;
  /** What the laptop's kernel can take; the session uses what both can. */
  readonly offloads: Offloads;
  readonly log: Log;
  /** The websocket is gone; the session stays. */
  onLost(reason: string): void;
  /** The laptop says good-bye. */
  onGoodbye(): void;
}

/** Opens the TUN and lets the kernel forward for it. @throws TUN_MISSING, NOT_ROOT, EXEC_FAILED */
export async function openSession(options: ManagedSessionOptions): Promise<ManagedSession> {
  const tun = openTun({ name: 'cz%d' });
  try {
    tun.setOffloads(intersect(tun.offloads, options.offloads));
    tun.setSession({ side: 'manager', address: options.address });
    await options.nat.addSession({ interfaceName: tun.name, address: options.address });
  } catch (error) {
    tun.close();
    throw error;
  }
  return compose(options, tun);
}

function compose(options: ManagedSessionOptions, tun: TunDevice): ManagedSession {
  const { uid, address, nat, log } = options;
  const link = createLink({ role: 'manager', packets: tun, log, onLost: (reason) => options.onLost(reason) });
  link.handle('goodbye', async () => {
    options.onGoodbye();
    return {};
  });
  let ended = false;
  return {
    uid,
    address,
    link,
    offloads: tun.offloads,
    attach(carrier, resume) {
      link.detach();
      link.attach(carrier, resume);
    },
    async end(code) {
      if (ended) return;
      ended = true;
      link.close(code);
      log.info('session ended', { code, ...tun.stats() });
      tun.close();
      await nat.removeSession({ interfaceName: tun.name, address }).catch((error: unknown) => {
        log.warn('forwarding rules stay behind', { cause: messageOf(error) });
      });
    },
  };
}

function intersect(a: Offloads, b: Offloads): Offloads {
  return {
    checksum: a.checksum && b.checksum,
    tso4: a.tso4 && b.tso4,
    tso6: a.tso6 && b.tso6,
    tsoEcn: a.tsoEcn && b.tsoEcn,
    uso: a.uso && b.uso,
  };
}
