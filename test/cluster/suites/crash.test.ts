/**
 * Whatever ends the daemon, in whatever moment: the laptop is as before, and names outside the cluster resolve again
 * within a second. A step of connect that fails says which, and undoes those before it.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { before, beforeEach, test } from 'node:test';
import { CONTROL_SOCKET, LOG_PATH } from '../../../src/control/schema.js';
import { openCluster } from '../harness/cluster.js';
import { until } from '../harness/until.js';
import {
  PROGRAM,
  assertAsBefore,
  connected,
  cz,
  disconnected,
  ensureManager,
  laptopState,
  status,
  succeeded,
  testLaptop,
  type LaptopState,
} from './support.js';
import { assertOutsideNames } from './watching.js';

/** Names outside the cluster resolve again within this. */
const BACK_MS = 1000;
/** What a step may be called in the log, in order. */
const STEPS = [
  'cluster',
  'tun',
  'session',
  'tunnel',
  'interface',
  'guard',
  'routes',
  'dns',
  'resolver',
] as const;

const cluster = await openCluster();
const own = { skip: cluster.own ? false : 'needs the tests’ own cluster' };
const laptop = await testLaptop(cluster, 'life-crash');
let asBefore: LaptopState;

before(
  async () => {
    await ensureManager(cluster);
    asBefore = await laptopState(laptop);
  },
  { timeout: 200_000 },
);
beforeEach(() => disconnected(laptop));

/** Ends processes at once. */
async function kill(signal: string, ...pids: readonly (number | undefined)[]): Promise<void> {
  await laptop.run(['kill', `-${signal}`, ...pids.map(String)]);
}

/** Waits until the laptop's state is as before. */
async function cleaned(timeoutMs: number): Promise<void> {
  const look = async () => {
    await assertAsBefore(laptop, asBefore);
    return true;
  };
  await until('a clean laptop', look, { timeoutMs, everyMs: 20 });
}

async function guardOf(daemon: number | undefined): Promise<number> {
  return Number((await laptop.run(['ps', '-o', 'ppid=', '-p', String(daemon)])).stdout);
}

/** Begins to connect, and sends the daemon a signal as soon as its log says that this step is done. */
async function interruptAfter(step: string, signal: string): Promise<void> {
  // the log is followed on the laptop: a look from here would come too late
  const script = `
    : >"$1"; tail -n 0 -F "$1" 2>/dev/null | while read -r line; do
      case "$line" in
        *'"message":"starting"'*) pid=\${line##*'"pid":'}; pid=\${pid%%[!0-9]*}; [ "$3" = starting ] || continue ;;
        *"\\"step\\":\\"$3\\""*) ;;
        *) continue ;;
      esac
      kill "-$2" "$pid"; echo "$pid"; break
    done`;
  await laptop.run(['mkdir', '-p', '/run/cz']);
  const watcher = laptop.spawn(['sh', '-c', script, 'watch', LOG_PATH, signal, step], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  assert.ok(watcher.stdout);
  const told = once(createInterface(watcher.stdout), 'line');
  const outcome = cz(laptop, ['connect', '-n', 'shop']);
  await told;
  await outcome;
  watcher.kill();
}

test(
  'kill -9 while connected: outside names resolve again within a second, everything is as before',
  own,
  async () => {
    const { daemon } = await connected(laptop, '-n', 'shop');
    await kill('KILL', daemon?.pid);
    await until('an outside name', () => assertOutsideNames(laptop).then(() => true), {
      timeoutMs: BACK_MS,
      everyMs: 20,
    });
    await cleaned(BACK_MS);
    assert.equal((await status(laptop)).state, 'disconnected');
  },
);

for (const step of ['starting', ...STEPS]) {
  test(`kill -9 after "${step}" of connect leaves nothing behind`, own, async () => {
    await interruptAfter(step, 'KILL');
    await cleaned(2 * BACK_MS);
    await assertOutsideNames(laptop);
  });
}

for (const [index, signal] of ['TERM', 'INT', 'HUP'].entries()) {
  test(`SIG${signal} to the daemon, connected or connecting, ends it clean`, own, async () => {
    const { daemon } = await connected(laptop, '-n', 'shop');
    await kill(signal, daemon?.pid);
    await cleaned(5 * BACK_MS);
    for (const step of ['starting', ...STEPS].filter((_, at) => at % 3 === index)) {
      await interruptAfter(step, signal);
      await cleaned(5 * BACK_MS);
    }
    await assertOutsideNames(laptop);
  });
}

for (const mend of [
  ['connect', '-n', 'shop'],
  ['doctor', '--fix'],
]) {
  test(
    `kill -9 of the daemon and its guard: \`cz ${mend.join(' ')}\` brings everything back`,
    own,
    async () => {
      const { daemon } = await connected(laptop, '-n', 'shop');
      const guard = await guardOf(daemon?.pid);
      await kill('KILL', guard, daemon?.pid);
      await until(
        'the end of the interface',
        async () => !(await laptop.run(['ip', 'link'])).stdout.includes('cz0'),
        {
          timeoutMs: BACK_MS,
        },
      );
      const left = await laptopState(laptop);
      assert.notEqual(left.resolver, asBefore.resolver, 'nobody was there to undo it');
      await cz(laptop, mend);
      if (mend[0] === 'connect') {
        assert.equal((await status(laptop)).state, 'connected');
        await disconnected(laptop);
      }
      await cleaned(BACK_MS);
      await assertOutsideNames(laptop);
    },
  );
}

test('a guard that is killed takes nobody along, and disconnecting is as ever', own, async () => {
  const { daemon } = await connected(laptop, '-n', 'shop');
  await kill('KILL', await guardOf(daemon?.pid));
  assert.equal((await status(laptop)).state, 'connected');
  await disconnected(laptop);
  await cleaned(BACK_MS);
});

/** Returns what puts another program in the place of one, in this mount namespace alone; where it was is /run/real-NAME. */
function replacing(name: string, script: string): string {
  return `
    at=$(readlink -f "$(command -v ${name})"); cp "$at" /run/real-${name}
    cat >/run/bad-${name} <<'END'
#!/bin/sh
${script}
END
    chmod 755 /run/bad-${name}; mount --bind /run/bad-${name} "$at"`;
}

const TAKER = 'require("net").createServer().listen(53, "0.0.0.0", () => console.log("taken"))';

/** What is taken away, and what the refusal says of the step. In a mount namespace of the command's own. */
const FAILURES: readonly (readonly [string, string, RegExp])[] = [
  ['no /dev/net/tun', 'mount -t tmpfs none /dev/net', /opening the tunnel interface: .*\/dev\/net\/tun/],
  [
    'port 53 of every address taken',
    `
    mkfifo /run/taken; "${process.execPath}" -e '${TAKER}' >/run/taken & holder=$!; read -r _ </run/taken`,
    /answering the cluster’s names: .*port 53: taken by another program/,
  ],
  [
    'an ip that adds no routes',
    replacing('ip', 'case "$*" in *-batch*) exit 2;; esac; exec /run/real-ip "$@"'),
    /(?:setting up the interface|adding the routes): /,
  ],
];

for (const [what, spoil, said] of FAILURES) {
  test(`connect with ${what} says which step failed, and changes nothing`, own, async () => {
    const script = `${spoil}\n"$@"; code=$?; [ -z "$holder" ] || kill "$holder"; exit "$code"`;
    const argv = [
      'unshare',
      '-m',
      'sh',
      '-c',
      script,
      'spoiled',
      process.execPath,
      PROGRAM,
      'connect',
      '-n',
      'shop',
    ];
    const { exitCode, stderr } = await laptop.run(argv, {
      env: { ...process.env, KUBECONFIG: cluster.kubeconfig },
      okCodes: Array.from({ length: 256 }, (_, code) => code),
      timeoutMs: 30_000,
    });
    assert.notEqual(exitCode, 0);
    assert.match(stderr, said);
    await laptop.run(['rm', '-f', '/run/bad-ip', '/run/real-ip', '/run/taken']);
    await cleaned(BACK_MS);
    await assertOutsideNames(laptop);
    succeeded(await laptop.run(['test', '!', '-e', CONTROL_SOCKET]));
  });
}
