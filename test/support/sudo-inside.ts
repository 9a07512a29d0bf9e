/**
 * Runs inside a mount namespace of its own (kube-sudo.test.ts), where /etc is a private copy with a scratch user: lets that
 * user call sudo in several ways, and prints what cz saw each time.
 */
import { appendFileSync, chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exec } from '../../src/base/exec.js';

const [UID, GID, TEAM] = [64242, 64243, 64244];
const folder = mkdtempSync(join(tmpdir(), 'cz-sudo-'));
chmodSync(folder, 0o755);
const at = (name: string) => join(folder, name);
const probe = [
  process.execPath,
  '--import',
  import.meta.resolve('tsx'),
  fileURLToPath(new URL('sudo-probe.ts', import.meta.url)),
];

async function privateEtc(): Promise<void> {
  await exec(['cp', '-a', '--', '/etc/.', at('etc')]);
  appendFileSync(at('etc/passwd'), `czjane:x:${UID}:${GID}::${at('home')}:/bin/sh\n`);
  appendFileSync(at('etc/group'), `czjane:x:${GID}:\nczteam:x:${TEAM}:czjane\n`);
  appendFileSync(at('etc/shadow'), 'czjane:*:19000:0:99999:7:::\n');
  await exec(['mount', '--bind', at('etc'), '/etc']);
}

function sudoers(pty: boolean): void {
  writeFileSync('/etc/sudoers.d/cz', `czjane ALL=(ALL) NOPASSWD: ALL\nDefaults ${pty ? '' : '!'}use_pty\n`);
  chmodSync('/etc/sudoers.d/cz', 0o440);
}

/** A kubeconfig that only the user's group may read, with a plugin that only the user's PATH has. */
function kubeconfig(name: string): string {
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: 'cz-login',
    interactiveMode: 'Never',
  };
  const contents = {
    'current-context': name,
    contexts: [{ name, context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster: { server: 'https://api.test' } }],
    users: [{ name: 'u', user: { exec } }],
  };
  writeFileSync(at(name), JSON.stringify(contents));
  chownSync(at(name), 0, TEAM);
  chmodSync(at(name), 0o640);
  return at(name);
}

function plugin(): void {
  mkdirSync(at('bin'));
  const token = '$(id -un) $(id -Gn) $AWS_PROFILE $HOME $LD_LIBRARY_PATH';
  const json = `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"'"${token}"'"}}`;
  writeFileSync(at('bin/cz-login'), `#!/bin/sh\necho '${json}'\n`);
  chmodSync(at('bin/cz-login'), 0o755);
}

/** Runs a shell line as the user, as the user's login shell would, and returns what the probe printed. */
async function asUser(line: string, more: readonly string[] = []): Promise<unknown> {
  const env = [
    `HOME=${at('home')}`,
    `PATH=${at('bin')}:/usr/bin:/bin`,
    `KUBECONFIG=${at('shell')}`,
    'AWS_PROFILE=dev',
    'LD_LIBRARY_PATH=/opt/none',
    ...more,
  ];
  const ids = [`--reuid=${UID}`, `--regid=${GID}`, '--init-groups'];
  const shell = ['sh', '-c', `${line}; exit $?`, 'sh', ...probe];
  const { stdout } = await exec(['setpriv', ...ids, 'env', '-i', ...env, ...shell], {
    cwd: at('home'),
    timeoutMs: 30_000,
  });
  const [json] = /^\{.*\}/m.exec(stdout) ?? [];
  return JSON.parse(json ?? 'null');
}

async function main(): Promise<void> {
  await privateEtc();
  mkdirSync(at('home'));
  chownSync(at('home'), UID, GID);
  plugin();
  kubeconfig('shell');
  const given = kubeconfig('given');
  sudoers(false);
  const plain = await asUser('sudo "$@"');
  const onCommandLine = await asUser(`sudo KUBECONFIG=${given} "$@"`);
  const rootShell = await asUser(`sudo sh -c 'ROOTS_SECRET=x "$@"; exit $?' sh "$@"`);
  sudoers(true);
  const pty = await asUser(`python3 -c 'import pty, sys; pty.spawn(sys.argv[1:])' sudo "$@"`);
  const nested = await asUser('sudo sudo -u czjane sudo "$@"');
  console.log(JSON.stringify({ folder, ways: { plain, onCommandLine, rootShell, pty, nested } }));
}

try {
  await main();
} finally {
  await exec(['umount', '/etc'], { okCodes: [0, 32] }); // 32: it was not mounted yet
  rmSync(folder, { recursive: true });
}
