/**
 * The main job of the README on this machine alone: a real Kubernetes in network namespaces, cz installed into it, a
 * laptop connected, a Service reached by its name. Ends clean: on a terminal when you press Enter, else at once.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { prepare } from './prepare.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const CZ = [process.execPath, `${root}dist/cz.js`];

async function main() {
  if (process.getuid() !== 0) throw new Error('namespaces need root: sudo npm run try');
  await prepare();
  try {
    walk();
    await wait();
  } finally {
    say('ending: the machine as before');
    onLaptop([...CZ, 'disconnect']);
    cluster(['down']);
  }
}

function walk() {
  say('a Kubernetes of two nodes, in network namespaces of this machine');
  const { kubeconfig } = JSON.parse(must(cluster(['up'], 'pipe')));
  say('the manager’s image, put on both nodes');
  const scratch = mkdtempSync(join(tmpdir(), 'cz-try-'));
  must(npm(['run', '--silent', 'image', '--', '--output', join(scratch, 'manager.tar')], 'pipe'));
  must(cluster(['load', join(scratch, 'manager.tar')]));
  rmSync(scratch, { recursive: true });
  process.env.KUBECONFIG = kubeconfig;
  show(['cz', 'install']);
  show(['cz', 'connect', '--namespace', 'shop']);
  show(['cz', 'status']);
  show(['curl', '-sS', '--max-time', '10', 'http://web.shop']);
  show(['dig', '+noall', '+answer', 'web.shop.svc.cluster.local']);
  show(['ip', 'route']);
}

async function wait() {
  const enter = 'npm run cluster -- laptop --';
  say('the laptop is a member of the cluster. What to try next, in another terminal:');
  console.log(`    ${enter} curl http://web.shop            a Service, by name
    ${enter} curl http://web                 the same: “shop” is the connected namespace
    ${enter} redis-cli -h redis.shop ping    a database
    ${enter} dig +short db-0.db.shop.svc.cluster.local
    ${enter} ${CZ.join(' ')} status
    npm run cluster -- kubectl get sessions -A`);
  if (!process.stdin.isTTY) return;
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  await terminal.question('\nPress Enter to end it. ');
  terminal.close();
}

/** Runs a command on the laptop, shown as a person would type it. */
function show([program, ...args]) {
  console.log(`\n$ ${[program === 'cz' && args[0] === 'connect' ? 'sudo cz' : program, ...args].join(' ')}`);
  must(onLaptop([...(program === 'cz' ? CZ : [program]), ...args]));
}

function onLaptop(argv) {
  return cluster(['laptop', '--', ...argv]);
}

function cluster(args, stdout = 'inherit') {
  return npm(['run', '--silent', 'cluster', '--', ...args], stdout);
}

function npm(args, stdout) {
  return spawnSync('npm', args, { cwd: root, stdio: ['ignore', stdout, 'inherit'], encoding: 'utf8' });
}

function must(result) {
  if (result.status !== 0) throw new Error('that failed; see above');
  return result.stdout;
}

function say(text) {
  console.log(`\n── ${text}`);
}

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
