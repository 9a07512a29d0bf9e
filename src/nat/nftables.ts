/**
 * The manager's NAT by the kernel's nftables: one table in the pod's own network namespace, needs NET_ADMIN there
 * and nothing of the node. Rules are text for `nft -f -` (ruleset.ts); each change is one transaction. On the
 * packet's walk this is where it leaves the manager for the pods, and comes back.
 */
import { randomInt } from 'node:crypto';
import { parseAddress } from '../base/cidr.js';
import { CzError, hasCode, messageOf } from '../base/errors.js';
import { exec, type ExecResult } from '../base/exec.js';
import type { Log } from '../base/log.js';
import type { NatEngine, NatSession, Networks, Uplink } from './engine.js';
import {
  elementsOf,
  formatElements,
  formatRemoval,
  formatSession,
  formatTable,
  MARK_MASK,
  MARK_TAG,
  NO_ELEMENTS,
  type Elements,
} from './ruleset.js';
import { findUplink } from './uplink.js';

export interface NftablesOptions {
  readonly log: Log;
  /** Lets the kernel forward packets that come in by this interface (IPv4). */
  setForwarding(interfaceName: string): void;
}

/** Returns the engine; nothing is changed before `prepare`. */
export function createNftablesEngine(options: NftablesOptions): NatEngine {
  return new NftablesEngine(options);
}

class NftablesEngine implements NatEngine {
  readonly #options: NftablesOptions;
  readonly #sessions = new Map<string, { readonly address: string; readonly mark: number }>();
  #elements: Elements = NO_ELEMENTS;
  #uplink: Uplink | undefined;
  // Marks of a former run may live in the kernel's connection tracking, so numbers start anywhere.
  #number = randomInt(2 ** 24);
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: NftablesOptions) {
    this.#options = options;
  }

  prepare({ podIP }: { readonly podIP: string }): Promise<Uplink> {
    return this.#inTurn(async () => {
      const { stdout } = await run(['ip', '-j', '-4', 'address', 'show']);
      const uplink = findUplink(JSON.parse(stdout), podIP);
      await nft(formatTable());
      this.#sessions.clear();
      this.#elements = NO_ELEMENTS;
      this.#options.setForwarding(uplink.interfaceName);
      this.#uplink = uplink;
      this.#options.log.info('forwarding prepared', { uplink: uplink.interfaceName, mtu: uplink.mtu });
      return uplink;
    });
  }

  addSession(session: NatSession): Promise<void> {
    return this.#inTurn(async () => {
      const uplink = this.#uplink;
      if (uplink === undefined) throw new CzError('NAT_FAILED', 'forwarding is not prepared');
      checkSession(session);
      if (this.#sessions.has(session.interfaceName)) await this.#remove(session.interfaceName);
      const mark = this.#nextMark();
      await nft(formatSession('add', session, mark));
      this.#sessions.set(session.interfaceName, { address: session.address, mark });
      try {
        this.#options.setForwarding(session.interfaceName);
        await ipBatch(bringUp(session, uplink.mtu));
      } catch (error) {
        await this.#remove(session.interfaceName);
        throw error;
      }
    });
  }

  removeSession({ interfaceName, address }: NatSession): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#sessions.get(interfaceName)?.address === address) await this.#remove(interfaceName);
    });
  }

  setNetworks(networks: Networks): Promise<void> {
    return this.#inTurn(async () => {
      const elements = elementsOf(networks);
      const changes = formatElements(this.#elements, elements);
      if (changes === '') return;
      await nft(changes);
      this.#elements = elements;
    });
  }

  close(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#uplink === undefined) return;
      this.#uplink = undefined;
      this.#sessions.clear();
      await nft(formatRemoval());
    });
  }

  async #remove(interfaceName: string): Promise<void> {
    const session = this.#sessions.get(interfaceName);
    if (session === undefined) return;
    const { address, mark } = session;
    await nft(formatSession('delete', { interfaceName, address }, mark));
    this.#sessions.delete(interfaceName);
    await run(['ip', '-4', 'route', 'flush', 'exact', `${address}/32`]);
  }

  #nextMark(): number {
    this.#number = (this.#number + 1) & ~MARK_MASK;
    return (MARK_TAG | this.#number) >>> 0;
  }

  /** Runs one change after the other: two transactions at once would make each other start again. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(change);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

function checkSession({ interfaceName, address }: NatSession): void {
  if (!/^cz\d{1,9}$/.test(interfaceName))
    throw new CzError('NAT_FAILED', `"${interfaceName}" is no session interface`);
  if (parseAddress(address) === undefined) throw new CzError('NAT_FAILED', `"${address}" is no IPv4 address`);
}

/** Returns the `ip` commands for a session's interface: no IPv6 of its own, the uplink's MTU, the way back to the laptop. */
function bringUp({ interfaceName, address }: NatSession, mtu: number): string[] {
  return [
    `link set dev ${interfaceName} addrgenmode none`,
    `link set dev ${interfaceName} mtu ${mtu} up`,
    `route replace ${address}/32 dev ${interfaceName}`,
  ];
}

function nft(commands: string): Promise<unknown> {
  return run(['nft', '-f', '-'], commands);
}

function ipBatch(lines: readonly string[]): Promise<unknown> {
  return run(['ip', '-4', '-batch', '-'], `${lines.join('\n')}\n`);
}

async function run(argv: readonly string[], input = ''): Promise<ExecResult> {
  try {
    return await exec(argv, { input });
  } catch (cause) {
    const missing = hasCode(cause, 'EXEC_MISSING');
    throw new CzError(missing ? 'NAT_MISSING' : 'NAT_FAILED', messageOf(cause), { cause });
  }
}
