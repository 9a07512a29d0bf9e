/**
 * Everything that cz changes on the laptop, in order: the interface and its addresses, the guard, the routes, the
 * resolver. Each change's undo is in the journal before the change is made; the steps undo it all in reverse.
 */
import { destroySockets } from '../base/addon.js';
import type { Log } from '../base/log.js';
import type { Journal, UndoAction } from '../base/undo.js';
import { RUN_DIR } from '../control/schema.js';
import { chooseOsResolver, type ChosenResolver } from '../dns/choose.js';
import { openDns, type Dns } from '../dns/open.js';
import type { NamePolicy } from '../dns/names.js';
import type { LaptopResolver, ResolverTarget } from '../dns/os-resolver.js';
import { checkLookupsArrive } from '../dns/probe.js';
import { planTarget } from '../dns/target.js';
import { applyRoutes, RULES_UNDO } from '../routes/apply.js';
import { GUARD_UNDO, guardInterface } from '../routes/guard.js';
import { readHost, type HostNetworks } from '../routes/host.js';
import { configureInterface } from '../routes/interface.js';
import { planRoutes, type RoutePlan } from '../routes/plan.js';
import type { TunDevice } from '../tun/device.js';
import type { ClusterNetworks, Welcome } from '../tunnel/handshake.js';
import type { Steps } from './steps.js';
import type { Wishes } from './wishes.js';

export interface LaptopOptions {
  readonly welcome: Welcome;
  readonly wishes: Wishes;
  readonly host: HostNetworks;
  /** Where the laptop's resolver answers: an address of its own on the interface. */
  readonly dnsAddress: string;
  /** Returns the addresses that never go into the tunnel: the API server and its proxy. */
  outside(): readonly string[];
  readonly tun: TunDevice;
  readonly steps: Steps;
  readonly journal: Journal;
  readonly log: Log;
  /** Nothing begins after it. */
  readonly signal: AbortSignal;
}

/** What of the cluster and of the user's wishes the laptop follows. */
interface View {
  readonly networks: ClusterNetworks;
  readonly wishes: Wishes;
}

/**
 * Makes the laptop a member; `open` once, then `follow`, `change` and `adopt` as things change, one after the other.
 * Undone by the steps.
 */
export class Laptop {
  readonly #options: LaptopOptions;
  #view: View;
  #address: string;
  #mtu: number;
  #plan: RoutePlan | undefined;
  #dns: Dns | undefined;
  #resolver: ChosenResolver | undefined;
  #before: LaptopResolver = { servers: [], search: [] };
  #isReachable = true;
  #isOpen = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: LaptopOptions) {
    this.#options = options;
    this.#view = { networks: options.welcome.networks, wishes: options.wishes };
    this.#address = options.welcome.address;
    this.#mtu = options.welcome.mtu;
  }

  get interface() {
    const { tun, dnsAddress } = this.#options;
    return { name: tun.name, addresses: [`${this.#address}/32`, `${dnsAddress}/32`], mtu: this.#mtu };
  }

  get routes(): readonly string[] {
    return this.#plan?.routes ?? [];
  }

  /** The plan in force: what was left out, and why. */
  get plan(): RoutePlan | undefined {
    return this.#plan;
  }

  get dns() {
    const { dns, namespaces } = this.#view.networks;
    const zones = [dns.clusterDomain, ...namespaces];
    return { mechanism: this.#resolver?.mechanism ?? 'none', server: this.#options.dnsAddress, zones };
  }

  /**
   * Changes the laptop, step by step; nothing at all if the cluster's networks overlap the laptop's own.
   * @throws NETWORK_OVERLAP, USAGE · the failed step's code
   */
  open(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#open();
      this.#isOpen = true;
    });
  }

  /** Takes another session's address and networks; connections of the former one are reset. */
  adopt(welcome: Welcome): Promise<void> {
    return this.#whenOpen(async () => {
      const former = this.#address;
      await this.#openInterface(welcome);
      this.#reset(former); // now: who dials again at once gets the new address
      await this.#follow({ networks: welcome.networks, wishes: this.#view.wishes }, 'yield');
    });
  }

  /** Follows the cluster's networks and the laptop's own: an overlap that appears now is left to the laptop. */
  follow(networks: ClusterNetworks): Promise<void> {
    return this.#whenOpen(() => this.#follow({ networks, wishes: this.#view.wishes }, 'yield'));
  }

  /** Follows the user's wishes. @throws NETWORK_OVERLAP, USAGE; then nothing was changed */
  change(networks: ClusterNetworks, wishes: Wishes): Promise<void> {
    return this.#whenOpen(() => this.#follow({ networks, wishes }, 'refuse'));
  }

  /** Says whether the cluster can be asked for names at the moment. */
  setReachable(reachable: boolean): void {
    this.#isReachable = reachable;
    this.#dns?.setReachable(reachable);
  }

  /** Ends the connections of this session at once: who waits on one learns that nobody is there any more. */
  resetConnections(): void {
    this.#reset(this.#address);
  }

  #reset(address: string): void {
    this.#options.log.info('connections of the session reset', { address, sockets: destroySockets(address) });
  }

  async #open(): Promise<void> {
    const { steps, host, journal, welcome } = this.#options;
    const resolver = await chooseOsResolver({
      record: (step, action) => journal.record(step, action),
      runFolder: RUN_DIR,
    });
    this.#resolver = resolver;
    this.#before = await resolver.read();
    const plan = this.#makePlan(host, 'refuse');
    await steps.run('interface', 'setting up the interface', () => this.#openInterface(welcome));
    await steps.run('guard', 'closing the laptop to the cluster', async (undo) => {
      undo(await this.#record('guard', GUARD_UNDO));
      await guardInterface(this.#options.tun.name);
    });
    await steps.run('routes', 'adding the routes', async (undo) => {
      undo(await this.#record('rules', RULES_UNDO));
      await this.#applyPlan(plan);
    });
    const dns = await steps.run('dns', 'answering the cluster’s names', async (undo) => {
      const { dnsAddress, log } = this.#options;
      const opened = await openDns({ address: dnsAddress, ...this.#dnsView(), log });
      undo(() => opened.close());
      return opened;
    });
    this.#dns = dns;
    dns.setReachable(this.#isReachable);
    await steps.run('resolver', 'setting up the resolver', async (undo) => {
      undo(() => resolver.undo());
      await this.#pointResolver(resolver, dns);
    });
  }

  async #follow(view: View, whenOverlapping: 'refuse' | 'yield'): Promise<void> {
    const before = this.#view;
    this.#view = view;
    try {
      await this.#applyPlan(this.#makePlan(await readHost(), whenOverlapping));
    } catch (error) {
      this.#view = before;
      throw error;
    }
    this.#dns?.update(this.#dnsView());
    await this.#resolver?.apply(this.#resolverTarget());
  }

  /** A laptop that could not be opened is being undone: nothing may be added to it. */
  #whenOpen(work: () => Promise<void>): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#isOpen && !this.#options.signal.aborted) await work();
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #openInterface({ address, mtu }: Welcome): Promise<void> {
    const { tun, dnsAddress } = this.#options;
    tun.setSession({ side: 'laptop', address });
    await configureInterface(tun.name, { address, dnsAddress, mtu });
    this.#address = address;
    this.#mtu = mtu;
  }

  async #pointResolver(resolver: ChosenResolver, dns: Dns): Promise<void> {
    await resolver.apply(this.#resolverTarget(), () => checkLookupsArrive(dns));
    resolver.watch((now) => {
      this.#before = now;
      this.#dns?.update(this.#dnsView());
    });
  }

  async #record(step: string, action: UndoAction): Promise<() => Promise<void>> {
    const entry = await this.#options.journal.record(step, action);
    return () => entry.undo();
  }

  #makePlan(host: HostNetworks, whenOverlapping: 'refuse' | 'yield'): RoutePlan {
    const { networks, wishes } = this.#view;
    return planRoutes({
      networks: [...networks.services, ...networks.pods, ...networks.nodes],
      alsoRoute: wishes.alsoRoute,
      neverRoute: wishes.neverRoute,
      protectedAddresses: [...this.#options.outside(), ...this.#before.servers],
      host,
      interfaceName: this.#options.tun.name,
      dnsServer: networks.dns.server,
      whenOverlapping,
    });
  }

  async #applyPlan(plan: RoutePlan): Promise<void> {
    await applyRoutes(this.#options.tun.name, plan);
    this.#plan = plan;
  }

  #policy(): NamePolicy {
    const { networks, wishes } = this.#view;
    return {
      clusterDomain: networks.dns.clusterDomain,
      namespaces: networks.namespaces,
      connected: wishes.namespaces,
      networks: [...networks.services, ...networks.pods],
      laptopDomains: this.#before.search,
    };
  }

  #dnsView() {
    return {
      policy: this.#policy(),
      cluster: [{ address: this.#view.networks.dns.server }],
      outside: this.#before.servers.map((address) => ({ address })),
    };
  }

  #resolverTarget(): ResolverTarget {
    const { dnsAddress, tun } = this.#options;
    return planTarget({ server: dnsAddress, interfaceName: tun.name, policy: this.#policy() });
  }
}
