/**
 * Credential plugins, as real programs: what they are told, what is made of what they print, when they are asked again,
 * and what is said when they fail.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import type { Credentials } from '../../../src/kube/credentials.js';
import { parsePlugin, pluginCredentials } from '../../../src/kube/plugin.js';
import type { Fields } from '../../../src/kube/shape.js';
import { someone } from '../../support/invoker.js';

const folder = mkdtempSync(join(tmpdir(), 'cz-plugin-'));
chmodSync(folder, 0o755);
after(() => rmSync(folder, { recursive: true }));

const V1 = 'client.authentication.k8s.io/v1';
const SOON = new Date(Date.now() + 5_000).toISOString();
const LATER = new Date(Date.now() + 3_600_000).toISOString();

let count = 0;

/** Writes a plugin (a shell script) and returns its path. */
function script(body: string): string {
  const path = join(folder, `plugin-${count++}`);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

const prints = (status: Fields, apiVersion = V1): string =>
  `cat <<'END'\n${JSON.stringify({ kind: 'ExecCredential', apiVersion, status })}\nEND`;

function credentials(exec: Fields, env: Record<string, string> = {}): Credentials {
  const described = { apiVersion: V1, interactiveMode: 'IfAvailable', ...exec };
  const cluster = { server: 'https://api:6443' };
  const plugin = parsePlugin(described, (path) => resolve(folder, path), cluster);
  return pluginCredentials(someone({ env: { PATH: '/usr/bin:/bin', ...env } }), plugin);
}

test('a token becomes a header; the plugin is asked once while it lasts', async () => {
  const runs = join(folder, 'runs');
  const command = script(`echo run >> ${runs}\n${prints({ token: 'abc', expirationTimestamp: LATER })}`);
  const given = credentials({ command });
  const [first, second] = await Promise.all([given.current(), given.current()]);
  assert.deepEqual(first.headers, { authorization: 'Bearer abc' });
  assert.equal(second, first);
  assert.equal(await given.current(), first);
  assert.equal(readFileSync(runs, 'utf8'), 'run\n');
});

test('what ends within half a minute is asked for again before it does', async () => {
  const runs = join(folder, 'runs-soon');
  const given = credentials({
    command: script(`echo run >> ${runs}\n${prints({ token: 'a', expirationTimestamp: SOON })}`),
  });
  await given.current();
  await given.current();
  assert.equal(readFileSync(runs, 'utf8'), 'run\nrun\n');
});

test('after a refusal it is asked again, unless somebody already has', async () => {
  const runs = join(folder, 'runs-refused');
  const given = credentials({ command: script(`echo run >> ${runs}\n${prints({ token: 'a' })}`) });
  const first = await given.current();
  assert.equal(await given.renew(first), true);
  assert.equal(await given.renew(first), true);
  assert.equal(readFileSync(runs, 'utf8'), 'run\nrun\n');
});

test('a certificate with its key is an identity, the same object while it stays the same', async () => {
  const given = credentials({
    command: script(prints({ clientCertificateData: 'CERT', clientKeyData: 'KEY' })),
  });
  const first = await given.current();
  assert.deepEqual(first, { headers: {}, identity: { cert: 'CERT', key: 'KEY' } });
  await given.renew(first);
  assert.equal((await given.current()).identity, first.identity);
});

test('v1beta1 is spoken too', async () => {
  const apiVersion = 'client.authentication.k8s.io/v1beta1';
  const given = credentials({ apiVersion, command: script(prints({ token: 'b' }, apiVersion)) });
  assert.deepEqual((await given.current()).headers, { authorization: 'Bearer b' });
});

test('it gets its arguments, its own and the user’s environment, the cluster if it asks, and no terminal', async () => {
  const seen = join(folder, 'seen');
  const command = script(
    `printf '%s\\n' "$@" "$MINE" "$AWS_PROFILE" > ${seen}; printf '%s' "$KUBERNETES_EXEC_INFO" > ${seen}.info; cat > ${seen}.in; ${prints({ token: 'a' })}`,
  );
  const env = [{ name: 'MINE', value: 'it’s $HOME' }];
  await credentials(
    { command, args: ['two words', '$(x)'], env, provideClusterInfo: true },
    { AWS_PROFILE: 'dev' },
  ).current();
  assert.equal(readFileSync(seen, 'utf8'), 'two words\n$(x)\nit’s $HOME\ndev\n');
  assert.deepEqual(JSON.parse(readFileSync(`${seen}.info`, 'utf8')), {
    kind: 'ExecCredential',
    apiVersion: V1,
    spec: { cluster: { server: 'https://api:6443' }, interactive: false },
  });
  assert.equal(readFileSync(`${seen}.in`, 'utf8'), '');
});

test('a plugin on the user’s PATH alone is found; one with a relative path is relative to the kubeconfig', async () => {
  const name = script(prints({ token: 'a' })).slice(folder.length + 1);
  await credentials({ command: name }, { PATH: `${folder}:/usr/bin:/bin` }).current();
  await credentials({ command: `./${name}` }).current();
  await assert.rejects(credentials({ command: name }).current(), { code: 'PLUGIN_FAILED' });
});

test('a missing plugin is named, with its own hint for the install', async () => {
  await assert.rejects(credentials({ command: 'no-such-login', installHint: 'brew it' }).current(), {
    code: 'PLUGIN_FAILED',
    message: 'the credential plugin "no-such-login" is not there',
    hint: 'brew it',
  });
});

test('a failing plugin is quoted', async () => {
  await assert.rejects(
    credentials({ command: script('echo "session over, log in" >&2; exit 3') }).current(),
    {
      code: 'PLUGIN_FAILED',
      message: /exited with 3: session over, log in$/,
    },
  );
});

const JUNK: readonly [string, string, RegExp][] = [
  ['nothing', ':', /it printed nothing/],
  ['no JSON', 'echo hello', /it printed no JSON/],
  ['another kind', 'echo "{}"', /is no ExecCredential/],
  ['another version', prints({ token: 'a' }, 'client.authentication.k8s.io/v1beta1'), /is no ExecCredential/],
  ['neither token nor certificate', prints({}), /neither token nor certificate/],
  ['a key without certificate', prints({ clientKeyData: 'x' }), /neither token nor certificate/],
  ['no time', prints({ token: 'a', expirationTimestamp: 'soon' }), /is no time/],
  ['a token that would end the header', prints({ token: 'a\r\nX-Y: z' }), /no header may have/],
];

for (const [what, body, message] of JUNK) {
  test(`a plugin that prints ${what} is PLUGIN_FAILED`, async () => {
    await assert.rejects(credentials({ command: script(body) }).current(), {
      code: 'PLUGIN_FAILED',
      message,
    });
  });
}

test('a plugin that hangs is given up, also when a child of it keeps its output open', async () => {
  const described = { apiVersion: V1, command: script('sleep 3 & wait') };
  const plugin = parsePlugin(described, (path) => path, {});
  await assert.rejects(pluginCredentials(someone({ env: { PATH: '/usr/bin:/bin' } }), plugin, 50).current(), {
    code: 'PLUGIN_FAILED',
    message: /gave no answer within 0\.05 s$/,
  });
});

test('versions that are not spoken, and plugins that insist on a terminal, are refused before they run', () => {
  const parse = (exec: Fields) => () => parsePlugin(exec, (path) => path, {});
  assert.throws(
    parse({ apiVersion: 'client.authentication.k8s.io/v1alpha1', command: 'x' }),
    /v1alpha1" is not spoken/,
  );
  assert.throws(parse({ apiVersion: V1, command: 'x', interactiveMode: 'Always' }), /no terminal/);
  assert.throws(parse({ apiVersion: V1 }), /no command/);
});
