/**
 * Makes a fresh checkout ready: Debian packages (as root by apt; elsewhere it names what is missing and how to
 * get it), npm's packages, the addon, the bundles. Says what it does; does nothing that is done already.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Program → the Debian package that has it. What the cluster needs beyond these, its own `up` installs. */
const PROGRAMS = {
  cc: 'gcc libc6-dev',
  ip: 'iproute2',
  nft: 'nftables',
  curl: 'curl',
  dig: 'dnsutils',
  ping: 'iputils-ping',
  iperf3: 'iperf3',
  sudo: 'sudo',
  python3: 'python3',
  'redis-cli': 'redis-tools',
  tcpdump: 'tcpdump',
  conntrack: 'conntrack',
  openssl: 'openssl',
  'dbus-daemon': 'dbus',
};

/** Debian packages without a program: systemd-resolved, which the tests unpack for themselves, is linked with it. */
const LIBRARIES = ['libsystemd-shared'];

/** Installs and builds. Ends the process with a message when something is missing that it cannot get. */
export async function prepare() {
  needNode();
  needPrograms();
  installPackages('.');
  installPackages('agent-image');
  run('building the addon', [process.execPath, 'native/build.mjs']);
  run('building the bundles', [process.execPath, 'scripts/build.mjs']);
}

function needNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19))
    stop(`Node ${process.versions.node} is too old: 20.19 or newer is needed`);
  if (spawnSync('go', ['version']).status !== 0) {
    stop(
      'the program "go" is missing (it builds Kubernetes for the tests): https://go.dev/doc/install, 1.26 or newer',
    );
  }
}

function needPrograms() {
  const programs = Object.keys(PROGRAMS).filter((program) => !onPath(program));
  const libraries = LIBRARIES.filter((library) => !isInstalled(library));
  const missing = [...programs, ...libraries];
  if (missing.length === 0) return;
  const packages = [
    ...new Set([...programs.flatMap((program) => PROGRAMS[program].split(' ')), ...libraries]),
  ];
  const canInstall = process.getuid() === 0 && onPath('apt-get');
  if (!canInstall) stop(`missing: ${missing.join(', ')}. As root: apt-get install -y ${packages.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  run('updating the package lists', ['apt-get', 'update', '-qq'], env);
  run(
    `installing ${packages.join(' ')}`,
    ['apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...packages],
    env,
  );
}

function onPath(program) {
  const folders = `${process.env.PATH}:/usr/sbin:/sbin`.split(':');
  return folders.some((folder) => existsSync(`${folder}/${program}`));
}

/** Whether Debian's package is there; elsewhere the tests say what they miss. */
function isInstalled(name) {
  const query = spawnSync('dpkg-query', ['-W', '-f', '${db:Status-Status}', name], { encoding: 'utf8' });
  return query.error !== undefined || query.stdout === 'installed';
}

/** `npm ci` where the folder's lock file is newer than what is installed. */
function installPackages(folder) {
  if (isFresh(`${folder}/node_modules/.package-lock.json`, `${folder}/package-lock.json`)) return;
  run(`installing the npm packages of ${folder}`, ['npm', 'ci', '--prefix', folder]);
}

function isFresh(product, input) {
  if (!existsSync(`${root}${product}`)) return false;
  return statSync(`${root}${product}`).mtimeMs >= statSync(`${root}${input}`).mtimeMs;
}

function run(what, [program, ...args], env = process.env) {
  console.error(`… ${what}`);
  const result = spawnSync(program, args, { cwd: root, env, stdio: ['ignore', 2, 2] });
  if (result.status !== 0) stop(`${what} failed`);
}

function stop(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}
