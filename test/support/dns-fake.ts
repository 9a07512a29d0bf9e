/**
 * A small DNS server for tests, UDP and TCP, with answers from a table. It uses dns-packet, an implementation other than
 * the one under test. It remembers what it was asked.
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import packet, { type Answer, type DecodedPacket } from 'dns-packet';

export interface FakeZone {
  /** Names below these are known to exist or not; others are refused. `''`: all. */
  readonly zones: readonly string[];
  /** By small-letter name. A name without the asked type gets NODATA. */
  readonly records: Readonly<Record<string, readonly Answer[]>>;
}

export interface FakeDns {
  readonly port: number;
  /** `web.shop.svc.cluster.local A`, in order. */
  readonly asked: string[];
  close(): Promise<void>;
}

const UDP_LIMIT = 1232;

/** Starts answering; `port` 0: any free one. */
export async function openFakeDns(address: string, port: number, zone: FakeZone): Promise<FakeDns> {
  const asked: string[] = [];
  const answer = (bytes: Buffer): Buffer | undefined => {
    const query = packet.decode(bytes);
    const question = query.questions?.[0];
    if (question === undefined) return undefined;
    asked.push(`${question.name} ${question.type}`);
    return packet.encode(answerFrom(query, zone));
  };
  const tcp = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (part) => {
      const bytes = answer(part.subarray(2));
      if (bytes === undefined) return;
      const length = Buffer.alloc(2);
      length.writeUInt16BE(bytes.length);
      socket.end(Buffer.concat([length, bytes]));
    });
  });
  await new Promise<void>((resolve) => void tcp.listen(port, address, resolve));
  const bound = tcp.address();
  const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
  const udp = createSocket('udp4');
  udp.on('message', (bytes, from) => {
    const whole = answer(bytes);
    if (whole === undefined) return;
    const cut = packet.decode(bytes);
    const sent =
      whole.length <= UDP_LIMIT
        ? whole
        : packet.encode({
            type: 'response',
            id: cut.id ?? 0,
            flags: packet.TRUNCATED_RESPONSE,
            questions: cut.questions ?? [],
          });
    udp.send(sent, from.port, from.address);
  });
  await new Promise<void>((resolve) => void udp.bind(boundPort, address, resolve));
  return {
    port: boundPort,
    asked,
    async close() {
      await Promise.all([
        new Promise<void>((done) => void udp.close(done)),
        new Promise((done) => tcp.close(done)),
      ]);
    },
  };
}

/** Returns the answer of such a zone. */
export function answerFrom(query: DecodedPacket, zone: FakeZone) {
  const question = query.questions?.[0];
  const name = question?.name.toLowerCase() ?? '';
  const within = zone.zones.find((suffix) => suffix === '' || name === suffix || name.endsWith(`.${suffix}`));
  const records = zone.records[name];
  const answers = [...follow(zone, name, question?.type ?? 'A')];
  const code = within === undefined ? 5 : records === undefined ? 3 : 0;
  const authority: Answer[] =
    within === undefined || answers.length > 0
      ? []
      : [
          {
            type: 'SOA',
            name: within === '' ? '.' : within,
            ttl: 30,
            data: {
              mname: 'ns.test',
              rname: 'host.test',
              serial: 1,
              refresh: 1,
              retry: 1,
              expire: 1,
              minimum: 10,
            },
          },
        ];
  return {
    type: 'response' as const,
    id: query.id ?? 0,
    flags: packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | code,
    questions: query.questions ?? [],
    answers,
    authorities: authority,
  };
}

function follow(zone: FakeZone, name: string, type: string): Answer[] {
  const records = zone.records[name] ?? [];
  const alias = records.find((record) => record.type === 'CNAME');
  if (alias?.type === 'CNAME' && type !== 'CNAME') return [alias, ...follow(zone, alias.data, type)];
  return records.filter((record) => record.type === type);
}
