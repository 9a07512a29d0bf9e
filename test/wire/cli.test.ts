/**
 * The bundled program as users and scripts meet it: exit codes, both streams, the socket, signals. In namespaces of
 * the test's own, with a stand-in behind the daemon's socket.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exec } from '../../src/base/exec.js';
import { integer, map, object, text } from '../../src/base/shape.js';
import { RESULTS } from '../../src/control/schema.js';
import { COMMANDS } from '../../src/cli/commands.js';
import { buildBundles, type Bundles } from '../support/bundles.js';
import {
  eventually,
  openPrivateLaptop,
  type PrivateLaptop,
  type RunOptions,
} from '../support/private-laptop.js';

/** Whom a connect named. */
const ofInvoker = object({ invoker: object({ uid: integer(), user: text(), env: map(text()) }) });

const root = fileURLToPath(new URL('../..', import.meta.url));
const NOBODY = 65_534;
let bundles: Bundles;
let laptop: PrivateLaptop;
let scratch = '';

before(async () => {
  bundles = await buildBundles();
  const source = join(root, 'test/support/stand-in-control.ts');
  const flags = [
    '--bundle',
    '--platform=node',
    '--format=esm',
    `--outfile=${bundles.daemon}`,
    '--allow-overwrite',
  ];
  await exec([join(root, 'node_modules/.bin/esbuild'), source, ...flags, '--log-level=error']);
});
after(() => bundles.remove());
beforeEach(async () => {
  laptop = await openPrivateLaptop();
  scratch = mkdtempSync(join(tmpdir(), 'cz-cli-'));
});
afterEach(async () => {
  await laptop.close();
  rmSync(scratch, { recursive: true });
});

const cz = (words: readonly string[], options: RunOptions = {}) =>
  laptop.run([process.execPath, bundles.cz, ...words], { cwd: scratch, ...options });
const exists = async (path: string) => (await laptop.run(['test', '-e', path])).exitCode === 0;
const stateOf = async () => RESULTS.status(JSON.parse((await cz(['status', '-o', 'json'])).stdout)).state;

test('without a daemon the status is valid in every form, exit 0', async () => {
  const json = await cz(['status', '-o', 'json']);
  assert.equal(RESULTS.status(JSON.parse(json.stdout)).state, 'disconnected');
  assert.deepEqual([json.exitCode, json.stderr], [0, '']);
  assert.match((await cz(['status', '-o', 'yaml'])).stdout, /^state: disconnected$/m);
  assert.equal((await cz(['status', '-o', 'name'])).stdout, '');
  assert.equal((await cz(['status'])).stdout, 'not connected\n');
});

test('connect without root and without a terminal: exit 5, a line that works as pasted, nothing touched', async () => {
  const words = ['connect', '-n', 'shop', '--context', "it's \\ a $(context)"];
  const { exitCode, stdout, stderr } = await cz(words, { uid: NOBODY });
  assert.deepEqual([exitCode, stdout], [5, '']);
  assert.match(stderr, /^cz: error: connect needs root\ncz: hint: sudo -- /);
  const hint = /hint: (.*)\n$/.exec(stderr)?.[1] ?? '';
  const pasted = await laptop.run(['sh', '-c', `sudo() { shift; printf '%s\\n' "$@"; }; ${hint}`]);
  assert.deepEqual(pasted.stdout.trimEnd().split('\n'), [process.execPath, bundles.cz, ...words]);
  assert.ok(!(await exists('/run/cz')));
});

test('connect, again, status, disconnect', async () => {
  const first = await cz([
    'connect',
    '-n',
    'shop',
    '--also-route',
    '10.9.0.0/16',
    '--kubeconfig',
    'my config',
  ]);
  assert.deepEqual([first.exitCode, first.stdout], [0, '']);
  assert.equal(first.stderr, 'cz: connected to "shop-dev"; try: curl http://SERVICE.shop\n');
  const params: unknown = JSON.parse((await laptop.run(['cat', '/run/params.json'])).stdout);
  assert.ok(typeof params === 'object' && params !== null);
  const { invoker, ...rest } = { invoker: undefined, ...params };
  assert.ok(invoker !== undefined);
  assert.deepEqual(rest, {
    namespaces: ['shop'],
    alsoRoute: ['10.9.0.0/16'],
    neverRoute: [],
    managerNamespace: 'cz-system',
    install: false,
    kubeconfig: join(scratch, 'my config'),
  });
  const again = await cz(['connect']);
  assert.deepEqual([again.exitCode, again.stderr], [0, 'cz: already connected to "shop-dev"\n']);
  const status = await cz(['status']);
  assert.match(
    status.stdout,
    /^connected to "shop-dev" since \d+ s ago\n {2}server {6}https:\/\/192.0.2.1:6443\n/,
  );
  assert.equal(await stateOf(), 'connected');
  const left = await cz(['disconnect']);
  assert.deepEqual([left.exitCode, left.stderr], [0, 'cz: disconnected from "shop-dev"\n']);
  assert.equal(await stateOf(), 'disconnected');
  assert.deepEqual(
    [(await cz(['disconnect'])).exitCode, (await cz(['disconnect'])).stderr],
    [0, 'cz: nothing is connected\n'],
  );
});

test('answers of connect and disconnect for programs', async () => {
  const connected = RESULTS.connect(JSON.parse((await cz(['connect', '-o', 'json'])).stdout));
  assert.equal(connected.outcome, 'connected');
  assert.match((await cz(['connect', '-o', 'yaml'])).stdout, /^outcome: unchanged$/m);
  assert.equal(
    RESULTS.disconnect(JSON.parse((await cz(['disconnect', '-o', 'json'])).stdout)).wasConnected,
    true,
  );
});

test('another context while connected: exit 6 naming both, and still connected', async () => {
  await cz(['connect']);
  const { exitCode, stderr } = await cz(['connect', '--context', 'other']);
  assert.equal(exitCode, 6);
  assert.equal(stderr, 'cz: error: connected to "shop-dev", not to "other"\ncz: hint: cz disconnect\n');
  assert.equal(await stateOf(), 'connected');
});

test('two connects at the same moment: one starts the daemon, both succeed', async () => {
  const both = await Promise.all([cz(['connect']), cz(['connect'])]);
  assert.deepEqual(
    both.map(({ exitCode }) => exitCode),
    [0, 0],
    both.map(({ stderr }) => stderr).join(),
  );
});

test('the user who connected may ask and disconnect, another may not and is told whose it is', async () => {
  const asNobody = { SUDO_UID: String(NOBODY), SUDO_GID: String(NOBODY), SUDO_USER: 'nobody' };
  await cz(['connect'], { env: asNobody });
  assert.equal((await cz(['status'], { uid: NOBODY })).exitCode, 0);
  const stranger = await cz(['status'], { uid: 1234 });
  assert.equal(stranger.exitCode, 5);
  assert.match(stranger.stderr, /belongs to the user "nobody"/);
  assert.equal((await cz(['disconnect'], { uid: 1234 })).exitCode, 5);
  assert.equal((await cz(['logs', '--daemon'], { uid: NOBODY })).exitCode, 0);
  assert.equal((await cz(['logs', '--daemon'], { uid: 1234 })).exitCode, 5);
  assert.equal((await cz(['disconnect'], { uid: NOBODY })).exitCode, 0);
});

test('connect in a pipe ends with its reader satisfied: the daemon keeps nothing', async () => {
  const line = '"$1" "$2" connect 2>&1 | tail -n 1';
  const { stdout } = await laptop.run(['sh', '-c', line, 'sh', process.execPath, bundles.cz]);
  assert.match(stdout, /^cz: connected/);
});

test('connect -- CMD: its streams and exit code, and disconnected after it', async () => {
  const { exitCode, stdout, stderr } = await cz([
    'connect',
    '--',
    'sh',
    '-c',
    'echo "$0"; pwd; exit 7',
    "it's one",
  ]);
  assert.deepEqual([exitCode, stdout, stderr], [7, `it's one\n${scratch}\n`, '']);
  assert.equal(await stateOf(), 'disconnected');
});

test('connect -- CMD while connected leaves the connection', async () => {
  await cz(['connect']);
  assert.equal((await cz(['connect', '--', 'true'])).exitCode, 0);
  assert.equal(await stateOf(), 'connected');
});

test('connect -- CMD as the user behind sudo', async () => {
  const env = { SUDO_UID: String(NOBODY), SUDO_GID: String(NOBODY), SUDO_USER: 'nobody' };
  assert.equal((await cz(['connect', '--', 'id', '-u'], { env })).stdout, `${NOBODY}\n`);
});

test('a CMD that is missing is 127, and a signal to cz reaches CMD', async () => {
  assert.equal((await cz(['connect', '--', '/no/such/program'])).exitCode, 127);
  const script = 'echo $$ > /run/cmd; trap "exit 9" TERM; while :; do sleep 0.05; done';
  const child = laptop.start([process.execPath, bundles.cz, 'connect', '--', 'sh', '-c', script]);
  await eventually('CMD runs', () => exists('/run/cmd'));
  const ended = once(child, 'exit');
  await laptop.run(['sh', '-c', 'kill -TERM $(ps -o ppid= -p "$(cat /run/cmd)")']);
  const [code]: unknown[] = await ended;
  assert.equal(code, 9);
  assert.equal(await stateOf(), 'disconnected');
});

test('an interrupted connect is 130, a failed one has its code and leaves no daemon', async () => {
  const child = laptop.start([process.execPath, bundles.cz, 'connect', '--context', 'slow']);
  await eventually('the daemon listens', () => exists('/run/cz/cz.sock'));
  const ended = once(child, 'exit');
  await laptop.run(['sh', '-c', `kill -INT $(ps -eo pid=,args= | awk '/[c]ontext slow/ {print $1}')`]);
  const [code]: unknown[] = await ended;
  assert.equal(code, 130);
  const failed = await cz(['connect', '--context', 'broken']);
  assert.deepEqual([failed.exitCode, failed.stderr], [1, 'cz: error: no answer\ncz: hint: look\n']);
});

/** A user with sudo, in a private copy of /etc, on a terminal: what is typed there, and what it shows. */
async function onTerminal(words: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const setUp = `cp -a /etc /run/etc && mount --bind /run/etc /etc
    echo 'ada:x:4242:4242::/run/home:/bin/sh' >> /etc/passwd
    echo 'ada:*:19000:0:99999:7:::' >> /etc/shadow
    echo 'ada ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ada && chmod 440 /etc/sudoers.d/ada
    mkdir -p /run/home && chown 4242:4242 /run/home`;
  assert.equal((await laptop.run(['sh', '-ec', `[ -e /run/etc ] || { ${setUp}; }`])).exitCode, 0);
  const line = [process.execPath, bundles.cz, ...words].map((word) => `'${word}'`).join(' ');
  return laptop.run(['script', '-qec', line, '/dev/null'], { uid: 4242, env, cwd: '/run/home' });
}

test('without root, on a terminal: cz calls sudo itself, and what the user’s shell had set is not lost', async () => {
  const { exitCode, stdout } = await onTerminal(['connect', '-n', 'shop'], {
    KUBECONFIG: '/run/home/config',
  });
  assert.equal(exitCode, 0, stdout);
  assert.match(stdout, /connected to "shop-dev"/);
  const { invoker } = ofInvoker(JSON.parse((await laptop.run(['cat', '/run/params.json'])).stdout));
  assert.deepEqual([invoker.uid, invoker.user, invoker.env['KUBECONFIG']], [4242, 'ada', '/run/home/config']);
  assert.equal((await cz(['disconnect'], { uid: 4242 })).exitCode, 0);
});

test('without root, on a terminal: connect -- CMD runs CMD as the user, in their environment, and disconnects', async () => {
  const script = 'id -u; echo "$WISH"; exit 6';
  const { exitCode, stdout } = await onTerminal(['connect', '--', 'sh', '-c', script], { WISH: 'kept' });
  assert.equal(exitCode, 6);
  assert.match(stdout, /4242\r?\nkept\r?\n$/);
  assert.equal(await stateOf(), 'disconnected');
});

const usage: readonly [readonly string[], RegExp][] = [
  [['conect'], /^cz: error: unknown command "conect"\ncz: hint: did you mean connect\?\n$/],
  [
    ['status', '--outptu', 'json'],
    /^cz: error: unknown option "--outptu"\ncz: hint: did you mean --output\?\n$/,
  ],
  [['status', '-o', 'xml'], /^cz: error: .*xml.*\ncz: hint: cz status --help\n$/],
  [['status', 'extra'], /^cz: error: too many arguments/],
  [['status', '--', 'ls'], /^cz: error: "status" runs no command/],
  [['connect', '--'], /^cz: error: no command after "--"/],
  [['connect', '-n'], /^cz: error: .*--namespace/],
  [['logs', '--tail', 'x'], /^cz: error: --tail "x"/],
  [['completion', 'csh'], /^cz: error: no completion for "csh"\ncz: hint: one of: bash, zsh, fish\n$/],
];
for (const [words, message] of usage) {
  test(`wrong usage is exit 2 with the next step: cz ${words.join(' ')}`, async () => {
    const { exitCode, stdout, stderr } = await cz(words);
    assert.deepEqual([exitCode, stdout], [2, '']);
    assert.match(stderr, message);
  });
}

test('help of each command has its examples first, and goes to standard output', async () => {
  assert.match((await cz([])).stdout, /^cz makes .*\n\nExamples:\n {2}cz install/);
  for (const { name } of COMMANDS) {
    const { exitCode, stdout, stderr } = await cz([name, '--help']);
    assert.deepEqual([exitCode, stderr], [0, '']);
    assert.match(stdout, new RegExp(`^[A-Z].*\\n\\nExamples:\\n(?:  .*\\n)+\\nUsage:\\n  cz ${name}`), name);
    assert.ok(
      stdout.split('\n').every((line) => line.length <= 100),
      name,
    );
  }
});

test('the same program as kubectl-cz speaks of kubectl cz', async () => {
  await laptop.run(['ln', '-s', bundles.cz, join(scratch, 'kubectl-cz')]);
  const { stdout } = await laptop.run([join(scratch, 'kubectl-cz'), 'status', '--help']);
  assert.match(stdout, /\n {2}kubectl cz status -o json /);
});

test('a command that needs only the socket loads no Kubernetes client and no YAML', async () => {
  await cz(['connect']);
  const kube = /certificate-authority|selfsubjectreviews/;
  for (const words of [
    ['status', '-o', 'json'],
    ['logs', '--daemon'],
    ['version', '--client'],
    ['disconnect'],
  ])
    assert.deepEqual(await loadedWith(words, kube), [], words.join(' '));
  assert.notDeepEqual(
    await loadedWith(['doctor'], kube),
    [],
    'doctor does, or this test looks for the wrong text',
  );
});

/** Runs a command and returns the files that it loaded whose text matches. */
async function loadedWith(words: readonly string[], text: RegExp): Promise<string[]> {
  const folder = join(scratch, 'coverage');
  mkdirSync(folder);
  await cz(words, { env: { NODE_V8_COVERAGE: folder } });
  const files = readdirSync(folder).flatMap((name) => {
    const found = readFileSync(join(folder, name), 'utf8').matchAll(/"url":"file:\/\/([^"]+)"/g);
    return [...found].map(([, path = '']) => path);
  });
  rmSync(folder, { recursive: true });
  assert.ok(files.includes(bundles.cz), 'what was loaded is known');
  return files.filter((path) => text.test(readFileSync(path, 'utf8')));
}

test('leftovers of a killed daemon: doctor names them, --fix mends them, disconnect too', async () => {
  const leave = async () => {
    const line = '{"id":1,"step":"file","action":{"kind":"remove","path":"/run/left"}}';
    await laptop.run([
      'sh',
      '-c',
      'mkdir -p /run/cz; umask 077; touch /run/left; echo "$1" > /run/cz/journal',
      'sh',
      line,
    ]);
  };
  await leave();
  const looked = await cz(['doctor']);
  assert.equal(looked.exitCode, 1);
  assert.match(
    looked.stdout,
    /^failed +leftovers +of a daemon that was killed: the journal "\/run\/cz\/journal"\n +→ sudo cz doctor --fix$/m,
  );
  assert.match((await cz(['doctor', '--fix'])).stdout, /^ok +leftovers +mended:/m);
  assert.ok(!(await exists('/run/left')));
  await leave();
  const asUser = await cz(['disconnect'], { uid: NOBODY });
  assert.equal(asUser.exitCode, 5);
  assert.equal((await cz(['disconnect'])).exitCode, 0);
  assert.ok(!(await exists('/run/left')));
});

test('doctor as JSON has a state and a finding for each check; the daemon’s are among them', async () => {
  await cz(['connect']);
  const { findings } = RESULTS.doctor(JSON.parse((await cz(['doctor', '-o', 'json'])).stdout));
  const checks = new Set(findings.map(({ check }) => check));
  for (const check of ['leftovers', 'tun', 'program', 'kubeconfig', 'way'])
    assert.ok(checks.has(check), check);
});

test('another program named cz on PATH is named with its package', async () => {
  const other = join(scratch, 'node_modules/commitizen');
  mkdirSync(join(other, 'bin'), { recursive: true });
  await laptop.run([
    'sh',
    '-c',
    'printf "#!/bin/sh\\n" > "$1/bin/cz"; chmod +x "$1/bin/cz"; echo "{\\"name\\": \\"commitizen\\"}" > "$1/package.json"',
    'sh',
    other,
  ]);
  const PATH = `${join(other, 'bin')}:${process.env['PATH'] ?? ''}`;
  const { stdout } = await cz(['doctor'], { env: { PATH } });
  assert.match(
    stdout,
    /^warning +program +the "cz" on PATH is .*\/bin\/cz, of the npm package "commitizen"$/m,
  );
});

test('the daemon’s log for people and for programs, also when it is gone', async () => {
  await cz(['connect']);
  assert.match((await cz(['logs', '--daemon'])).stdout, /^daemon {3}\d{4}-.* info +starting$/m);
  await cz(['disconnect']);
  const { stdout } = await cz(['logs', '--daemon', '-o', 'json', '--tail', '1']);
  assert.match(stdout, /^\{"end":"daemon",.*"message":"starting"\}\n$/);
});

test('logs -f shows what is added, until interrupted', async () => {
  await cz(['connect']);
  const child = laptop.start([process.execPath, bundles.cz, 'logs', '--daemon', '-f']);
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await eventually('what is there is shown', () => text.includes('starting'));
  await eventually('what is added is shown', async () => {
    await laptop.run(['sh', '-c', `echo '{"message":"more"}' >> /run/cz/daemon.log`]);
    return text.includes('more');
  });
  const ended = once(child, 'exit');
  await laptop.run([
    'sh',
    '-c',
    'for p in $(ps -eo pid=,args= | grep "[l]ogs --daemon -f" | awk "{print \\$1}"); do kill -INT "$p"; done',
  ]);
  await ended;
});

test('bash completes commands, flags, choices, and the command after --', async () => {
  const complete = async (...words: readonly string[]) => {
    const script =
      'source <("$1" "$2" completion bash); shift 2; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cz; printf "%s\\n" "${COMPREPLY[@]}"';
    const { stdout } = await laptop.run([
      'bash',
      '-c',
      script,
      'bash',
      process.execPath,
      bundles.cz,
      'cz',
      ...words,
    ]);
    return stdout.trim().split('\n');
  };
  assert.deepEqual(await complete('st'), ['status']);
  assert.deepEqual(await complete('connect', '--never'), ['--never-route']);
  assert.deepEqual(await complete('status', '-o', ''), ['json', 'yaml', 'wide', 'name']);
  assert.deepEqual(await complete('completion', 'f'), ['fish']);
  assert.ok((await complete('connect', '--', 'pw')).includes('pwd'));
});
