/**
 * Asking other DNS servers: by UDP, each question from a socket and port of its own with a random id; by TCP where the
 * answer was cut. Only what echoes the question, from the server asked, counts. Knows nothing of policy or caches.
 * RFC 1035 §4.2, RFC 5452 §9, RFC 6891 §6.2.
 */
import { createSocket } from 'node:dgram';
import { randomInt } from 'node:crypto';
import { connect, isIP, isIPv6 } from 'node:net';
import { CzError } from '../base/errors.js';
import { scanRecords } from './answer.js';
import { bitsOfKey, questionOfKey } from './query.js';
import { FLAG, HEADER_BYTES, RCODE, TYPE } from './wire.js';

export interface UpstreamServer {
  readonly address: string;
  /** Default 53. */
  readonly port?: number;
}

export interface Upstream {
  /**
   * Returns a server's whole, well-formed answer to the question of this key; one that only says a failure if no server
   * had a better one.
   * @throws DNS_NO_SERVER none is known · DNS_NO_ANSWER none answered in time · INTERRUPTED by abandon() or close()
   */
  ask(key: string): Promise<Buffer>;
  /** Asks these from now on. Our own addresses are left out: a question must not come back to us. */
  setServers(servers: readonly UpstreamServer[]): void;
  readonly servers: readonly UpstreamServer[];
  /** Gives up every question under way. */
  abandon(): void;
  close(): void;
}

export interface UpstreamOptions {
  readonly servers: readonly UpstreamServer[];
  /** Addresses that are ours, on port 53. */
  readonly own: readonly string[];
  /** How long each attempt waits, in ms; the servers are tried in turn. */
  readonly attemptsMs?: readonly number[];
}

/** Our choice: a lost datagram costs a second at most; all of it ends before most programs give up (5 s). */
const ATTEMPTS_MS = [1000, 1500, 2000];
const TCP_TIMEOUT_MS = 3000;

/** A payload that passes without fragments nearly everywhere (DNS flag day 2020; also Unbound's and BIND's default). */
const PAYLOAD_BYTES = 1232;
const OPT_BYTES = 11;

/** Returns a way to ask `servers`. */
export function openUpstream(options: UpstreamOptions): Upstream {
  const attemptsMs = options.attemptsMs ?? ATTEMPTS_MS;
  const pending = new Set<AbortController>();
  let servers: readonly UpstreamServer[] = [];
  let closed = false;
  const setServers = (next: readonly UpstreamServer[]) => {
    servers = next.filter((server) => isIP(server.address) !== 0 && !isOwn(server, options.own));
  };
  const prefer = (server: UpstreamServer) => {
    if (servers[0] !== server) servers = [server, ...servers.filter((other) => other !== server)];
  };
  const abandon = () => {
    for (const question of pending) question.abort();
  };
  setServers(options.servers);
  return {
    async ask(key) {
      if (closed) throw new CzError('INTERRUPTED', 'the DNS is being shut down');
      if (servers.length === 0) throw new CzError('DNS_NO_SERVER', 'no DNS server is known to ask');
      const question = new AbortController();
      pending.add(question);
      try {
        const { answer, server } = await askInTurn(servers, key, attemptsMs, question.signal);
        prefer(server);
        return answer;
      } finally {
        pending.delete(question);
      }
    },
    setServers,
    get servers() {
      return servers;
    },
    abandon,
    close() {
      closed = true;
      abandon();
    },
  };
}

/** Asks each server in turn, those that are silent again; one that answers with a failure is not asked twice. */
async function askInTurn(
  servers: readonly UpstreamServer[],
  key: string,
  attemptsMs: readonly number[],
  signal: AbortSignal,
): Promise<{ answer: Buffer; server: UpstreamServer }> {
  let failure: { answer: Buffer; server: UpstreamServer } | undefined;
  let silent = [...servers];
  for (let attempt = 0; attempt < Math.max(attemptsMs.length, servers.length); attempt++) {
    const server = silent[attempt % silent.length];
    if (server === undefined || signal.aborted) break;
    const answer = await exchange(server, key, attemptsMs[attempt] ?? attemptsMs.at(-1) ?? 1000, signal);
    if (answer === undefined) continue;
    if (isUseful(answer)) return { answer, server };
    failure = { answer, server };
    silent = silent.filter((other) => other !== server);
  }
  if (signal.aborted) throw new CzError('INTERRUPTED', 'the question to the DNS server was given up');
  if (failure !== undefined) return failure;
  throw new CzError('DNS_NO_ANSWER', `no answer from ${servers.map((server) => server.address).join(', ')}`);
}

function isOwn(server: UpstreamServer, own: readonly string[]): boolean {
  return (server.port ?? 53) === 53 && own.includes(server.address);
}

/** One attempt: UDP, without EDNS for servers that do not know it, then TCP if it was cut. Undefined: silence or nonsense. */
async function exchange(server: UpstreamServer, key: string, waitMs: number, signal: AbortSignal) {
  let query = encodeQuery(key, true);
  let answer = await askByUdp(server, query, waitMs, signal);
  if (answer !== undefined && isPuzzled(answer)) {
    query = encodeQuery(key, false);
    answer = await askByUdp(server, query, waitMs, signal);
  }
  if (answer !== undefined && (answer.readUInt16BE(2) & FLAG.truncated) !== 0) {
    answer = await askByTcp(server, query, signal);
  }
  return answer === undefined || scanRecords(answer) === undefined ? undefined : answer;
}

/** A server that fails or refuses may have a neighbour that does not. */
function isUseful(answer: Buffer): boolean {
  const code = codeOfAnswer(answer);
  return code === RCODE.ok || code === RCODE.nameError;
}

/** What servers without EDNS say to it (RFC 6891 §7). */
function isPuzzled(answer: Buffer): boolean {
  const code = codeOfAnswer(answer);
  return code === RCODE.formatError || code === RCODE.notImplemented;
}

function codeOfAnswer(answer: Buffer): number {
  return answer.readUInt16BE(2) & FLAG.rcode;
}

interface OwnQuery {
  readonly bytes: Buffer;
  readonly questionEnd: number;
}

function encodeQuery(key: string, withOptions: boolean): OwnQuery {
  const question = questionOfKey(key);
  const { dnssecOk, checkingDisabled } = bitsOfKey(key);
  const questionEnd = HEADER_BYTES + question.length;
  const bytes = Buffer.alloc(questionEnd + (withOptions ? OPT_BYTES : 0));
  bytes.writeUInt16BE(randomInt(0x10000), 0);
  bytes.writeUInt16BE(FLAG.recursionDesired | (checkingDisabled ? FLAG.checkingDisabled : 0), 2);
  bytes.writeUInt16BE(1, 4);
  question.copy(bytes, HEADER_BYTES);
  if (withOptions) {
    bytes.writeUInt16BE(1, 10);
    bytes.writeUInt16BE(TYPE.OPT, questionEnd + 1);
    bytes.writeUInt16BE(PAYLOAD_BYTES, questionEnd + 3);
    bytes.writeUInt16BE(dnssecOk ? 0x8000 : 0, questionEnd + 7);
  }
  return { bytes, questionEnd };
}

/** Returns whether the bytes are a response to this query: id, response bit, and the question, letters in any case. */
function answers(response: Buffer, query: OwnQuery): boolean {
  const end = query.questionEnd;
  if (response.length < HEADER_BYTES || response.readUInt16BE(0) !== query.bytes.readUInt16BE(0))
    return false;
  if ((response.readUInt16BE(2) & (FLAG.response | FLAG.opcode)) !== FLAG.response) return false;
  if (response.readUInt16BE(4) === 0) return isPuzzled(response);
  if (response.length < end || response.readUInt16BE(4) !== 1) return false;
  return lower(response, end) === lower(query.bytes, end);
}

/** The question, letters small; lengths are never letters, type and class are compared as they are. */
function lower(bytes: Buffer, end: number): string {
  const name = bytes
    .toString('latin1', HEADER_BYTES, end - 4)
    .replace(/[A-Z]+/g, (part) => part.toLowerCase());
  return name + bytes.toString('latin1', end - 4, end);
}

function askByUdp(server: UpstreamServer, query: OwnQuery, waitMs: number, signal: AbortSignal) {
  return new Promise<Buffer | undefined>((resolve) => {
    const socket = createSocket(isIPv6(server.address) ? 'udp6' : 'udp4');
    const finish = (answer?: Buffer) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abandon);
      socket.removeAllListeners('message').close();
      resolve(answer);
    };
    const once = createOnce(finish);
    const abandon = () => once();
    const timer = setTimeout(abandon, waitMs);
    signal.addEventListener('abort', abandon, { once: true });
    socket.on('error', abandon);
    socket.on('message', (bytes) => {
      if (answers(bytes, query)) once(bytes);
    });
    // Node calls back with the error where there is no way to the server; its types do not say so.
    const ask = (cause?: unknown) =>
      cause === undefined ? socket.send(query.bytes, (failed) => failed && once()) : once();
    socket.connect(server.port ?? 53, server.address, ask);
  });
}

function askByTcp(server: UpstreamServer, query: OwnQuery, signal: AbortSignal) {
  return new Promise<Buffer | undefined>((resolve) => {
    const socket = connect({ host: server.address, port: server.port ?? 53 });
    const once = createOnce((answer?: Buffer) => {
      signal.removeEventListener('abort', abandon);
      socket.destroy();
      resolve(answer);
    });
    const abandon = () => once();
    signal.addEventListener('abort', abandon, { once: true });
    if (signal.aborted) abandon();
    socket.setTimeout(TCP_TIMEOUT_MS, abandon).on('error', abandon).on('close', abandon);
    const parts: Buffer[] = [];
    socket.on('data', (part) => {
      parts.push(part);
      const all = Buffer.concat(parts);
      if (all.length < 2 || all.length < 2 + all.readUInt16BE(0)) return;
      const answer = all.subarray(2, 2 + all.readUInt16BE(0));
      once(answers(answer, query) ? answer : undefined);
    });
    const length = Buffer.alloc(2);
    length.writeUInt16BE(query.bytes.length);
    socket.write(Buffer.concat([length, query.bytes]));
  });
}

function createOnce<T>(action: (value?: T) => void): (value?: T) => void {
  let done = false;
  return (value) => {
    if (done) return;
    done = true;
    action(value);
  };
}
