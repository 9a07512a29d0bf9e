/**
 * Link to link over a websocket on 127.0.0.1, with synthetic packets: how many Gbit/s, and how much processor time
 * they cost, both ends in this process. Usage: node --import tsx test/bench/tunnel.ts [seconds] [record bytes]
 */
import { performance } from 'node:perf_hooks';
import { silentLog } from '../../src/base/log.js';
import { createLink, type PacketPort } from '../../src/tunnel/link.js';
import { openHost, record } from '../wire/tunnel-pair.js';

const seconds = Number(process.argv[2] ?? 3);
const recordBytes = Number(process.argv[3] ?? 65_000);

/** Gives the same record without end. */
class Source implements PacketPort {
  readonly #record = record(Buffer.alloc(recordBytes));
  on = true;
  #listener = () => undefined as void;

  take(arena: Buffer, offset: number): number {
    if (!this.on) return 0;
    let at = offset;
    while (at + this.#record.length <= arena.length) at += this.#record.copy(arena, at);
    return at - offset;
  }

  write(): void {}

  setReadable(listener: () => void): void {
    this.#listener = listener;
  }

  start(): void {
    this.#listener();
  }
}

/** Counts what arrives; echoes nothing. */
class Sink implements PacketPort {
  bytes = 0;
  messages = 0;
  take(): number {
    return 0;
  }
  write(records: Buffer): void {
    this.bytes += records.length;
    this.messages += 1;
  }
  setReadable(): void {}
}

const host = await openHost();
const [source, sink] = [new Source(), new Sink()];
const options = { log: silentLog, onLost: (reason: string) => console.error('lost', reason) };
const laptop = createLink({ ...options, role: 'laptop', packets: source });
const manager = createLink({ ...options, role: 'manager', packets: sink });
const pair = await host.dial({ mask: 'zero', direct: true });
manager.attach(pair.manager);
laptop.attach(pair.laptop);
source.start();
await new Promise((resolve) => setTimeout(resolve, 500));
const [start, cpu, bytes, messages] = [performance.now(), process.cpuUsage(), sink.bytes, sink.messages];
let worst = 0;
const probes: number[] = [];
const prober = setInterval(() => {
  const at = performance.now();
  laptop.request('x', {}).then(
    () => undefined,
    () => probes.push(performance.now() - at),
  );
  worst = Math.max(worst, process.memoryUsage().rss);
}, 20);
await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
clearInterval(prober);
const ms = performance.now() - start;
const used = process.cpuUsage(cpu);
const gbit = ((sink.bytes - bytes) * 8) / ms / 1e6;
const cpuMs = (used.user + used.system) / 1000;
probes.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    gbitPerSecond: Number(gbit.toFixed(2)),
    gbitPerCpuSecond: Number(((gbit * ms) / cpuMs).toFixed(2)),
    messageKiB: Math.round((sink.bytes - bytes) / (sink.messages - messages) / 1024),
    controlRoundTripMs: {
      p50: probes[Math.floor(probes.length / 2)],
      p99: probes[Math.floor(probes.length * 0.99)],
    },
    rssMiB: Math.round(worst / 2 ** 20),
    sender: laptop.stats(),
  }),
);
source.on = false;
laptop.close('DONE');
manager.close('DONE');
await host.close();
