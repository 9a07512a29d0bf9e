/**
 * A TUN without any filter (raw-tun.pl), for hand-made packets in and whatever comes out.
 */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { start } from '../../src/base/exec.js';
import { until } from '../support/wait.js';
import { isPong, parsePacket, ping, type Seen } from './nat-packets.js';

/** Identifiers of the pings that mark the end of what came before. */
let marker = 1000;

/** An interface of this network namespace; its packets are the test's. `close` ends it. */
export class RawTun {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #received: Seen[] = [];
  #up = false;
  #closed = false;

  constructor(name: string) {
    this.name = name;
    const script = fileURLToPath(new URL('raw-tun.pl', import.meta.url));
    this.#child = start(['perl', script, name], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.once('close', () => (this.#closed = true));
    if (this.#child.stdout === null) throw new Error('no pipe');
    createInterface(this.#child.stdout).on('line', (line) => this.#line(line));
  }

  #line(line: string): void {
    this.#up = true;
    if (line === 'up') return;
    const packet = Buffer.from(line, 'hex');
    if (packet.readUInt8(0) >> 4 === 4) this.#received.push(parsePacket(packet));
  }

  /** Whether the interface is gone. */
  get closed(): boolean {
    return this.#closed;
  }

  async opened(): Promise<this> {
    await until(`TUN ${this.name} is there`, () => this.#up);
    return this;
  }

  send(...packets: readonly Buffer[]): void {
    for (const packet of packets) this.#child.stdin?.write(`${packet.toString('hex')}\n`);
  }

  /** Returns the first packet that fits, and forgets all that came up to it. */
  async next(what: string, fits: (seen: Seen) => boolean): Promise<Seen> {
    let found: Seen | undefined;
    await until(`${this.name} gets ${what}`, () => (found = this.#received.find(fits)) !== undefined);
    if (found === undefined) throw new Error('unreachable');
    this.#received.splice(0, this.#received.indexOf(found) + 1);
    return found;
  }

  /** Returns everything that came before the answer to a ping that is sent now from `address`: the line keeps its order. */
  async settled(address: string, answering: string): Promise<string[]> {
    const id = (marker += 1);
    this.send(ping({ from: address, to: answering, id }));
    await until(`${this.name} is settled`, () => this.#received.some((seen) => isPong(seen, id)));
    const before = this.#received.splice(0).filter((seen) => !isPong(seen, id));
    return before.map((seen) => `${seen.what} from ${seen.from}`);
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}
