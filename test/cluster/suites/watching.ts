/**
 * What the suites about a session's life look at while it goes on: its state within a time, a conversation that is
 * open meanwhile, names.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { SessionState, Status } from '../../../src/control/schema.js';
import type { SuiteLaptop } from '../harness/cluster.js';
import { OUTSIDE_ANSWER } from '../harness/outside.js';
import { until } from '../harness/until.js';
import { status } from './support.js';

const ECHO_TRANSFER = fileURLToPath(new URL('../../support/echo-transfer.mjs', import.meta.url));

/** Waits until `cz status` says this state, and returns that status. */
export function awaitState(laptop: SuiteLaptop, state: SessionState, timeoutMs: number): Promise<Status> {
  const look = async () => {
    const now = await status(laptop);
    return now.state === state ? now : undefined;
  };
  return until(`the state "${state}"`, look, { timeoutMs });
}

/** Lets this much time go by: the length of an outage is what is tested. */
export function lasting(seconds: number): Promise<true> {
  const end = performance.now() + seconds * 1000;
  const options = { timeoutMs: seconds * 1000 + 1000, everyMs: 200 };
  return until(`${seconds} s`, (): true | false => performance.now() >= end, options);
}

/** A conversation with the cluster's TCP echo that goes on until it is ended. */
export interface Conversation {
  /** Bytes that came back so far. */
  readonly received: number;
  /** What the program said last: `same`, `different` or an error's code once it is over. */
  readonly said: string;
  /** Resolves when more comes back than has until now. */
  goesOn(timeoutMs: number): Promise<unknown>;
  /** Sends no more, and returns the last word about the whole: `same` if every byte came back. */
  end(): Promise<string>;
  /** Resolves with the last word when the program is over by itself. */
  over(timeoutMs: number): Promise<string>;
}

/** Starts a conversation; returns when the first bytes have come back. */
export async function converse(laptop: SuiteLaptop, host = 'echo.shop'): Promise<Conversation> {
  const child = laptop.spawn([process.execPath, ECHO_TRANSFER, host, '7'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const conversation = follow(child);
  await conversation.goesOn(10_000);
  return conversation;
}

function follow(child: ChildProcess): Conversation {
  let [last, received] = ['', 0];
  const ended = once(child, 'close');
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    last = text.trimEnd().split('\n').at(-1) ?? last;
    if (/^\d+$/.test(last)) received = Number(last);
  });
  const over = async (timeoutMs: number) => {
    await until('the end of the conversation', () => child.exitCode !== null, { timeoutMs });
    await ended;
    return last;
  };
  return {
    get received() {
      return received;
    },
    get said() {
      return last;
    },
    goesOn(timeoutMs) {
      const before = received;
      return until('more of the echo', () => received > before, { timeoutMs, everyMs: 20 });
    },
    end() {
      child.stdin?.end();
      return over(20_000);
    },
    over,
  };
}

/** Asserts that names outside the cluster are answered as ever. */
export async function assertOutsideNames(laptop: SuiteLaptop): Promise<void> {
  const argv = ['dig', '+short', '+tries=1', '+time=1', 'www.outside.test'];
  const { stdout } = await laptop.run(argv);
  assert.equal(stdout.trim(), OUTSIDE_ANSWER);
}

/** Returns the response code of a lookup by the laptop's resolver; fails where it takes longer than a second. */
export async function lookupCode(laptop: SuiteLaptop, name: string): Promise<string> {
  const { stdout } = await laptop.run(['dig', '+tries=1', '+time=1', name]);
  return /status: ([A-Z]+)/.exec(stdout)?.[1] ?? stdout;
}
