/**
 * From a kubeconfig's context to an access: server, TLS, credentials, impersonation, proxy; and the access of a pod.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadAccess, type ClusterAccess } from '../../../src/kube/access.js';
import { fixedCredentials, tokenFileCredentials, withHeaders } from '../../../src/kube/credentials.js';
import { inClusterAccess } from '../../../src/kube/incluster.js';
import { someone } from '../../support/invoker.js';

const folder = mkdtempSync(join(tmpdir(), 'cz-access-'));
after(() => rmSync(folder, { recursive: true }));

const PEM = '-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n';
const DATA = Buffer.from(PEM).toString('base64');

interface Parts {
  readonly cluster?: object;
  readonly user?: object;
  readonly env?: Record<string, string>;
}

async function load({ cluster = {}, user = {}, env = {} }: Parts): Promise<ClusterAccess> {
  const kubeconfig = join(folder, 'config');
  const contents = {
    'current-context': 'dev',
    contexts: [{ name: 'dev', context: { cluster: 'c', user: 'jane' } }],
    clusters: [{ name: 'c', cluster: { server: 'https://api.test:6443', ...cluster } }],
    users: [{ name: 'jane', user }],
  };
  writeFileSync(kubeconfig, JSON.stringify(contents));
  return loadAccess({ invoker: someone({ env }), kubeconfig });
}

test('server, namespace and authority; nothing else by default', async () => {
  const access = await load({ cluster: { 'certificate-authority-data': DATA } });
  assert.equal(access.context, 'dev');
  assert.equal(access.namespace, 'default');
  assert.equal(access.server.href, 'https://api.test:6443/');
  assert.deepEqual(access.tls, { ca: PEM, serverName: undefined, insecure: false });
  assert.equal(access.proxy, undefined);
  assert.deepEqual(await access.credentials.current(), { headers: {}, identity: undefined });
});

test('files are found beside the kubeconfig; data count more than files', async () => {
  writeFileSync(join(folder, 'ca.crt'), `file ${PEM}`);
  writeFileSync(join(folder, 'me.crt'), 'CERT');
  writeFileSync(join(folder, 'me.key'), 'KEY');
  const user = { 'client-certificate': 'me.crt', 'client-key': 'me.key' };
  const access = await load({ cluster: { 'certificate-authority': 'ca.crt' }, user });
  assert.equal(access.tls.ca, `file ${PEM}`);
  assert.deepEqual((await access.credentials.current()).identity, { cert: 'CERT', key: 'KEY' });
  const both = { 'certificate-authority': 'ca.crt', 'certificate-authority-data': DATA };
  assert.equal((await load({ cluster: both })).tls.ca, PEM);
});

test('tls-server-name, insecure, proxy-url before the environment’s proxy', async () => {
  const cluster = { 'tls-server-name': 'kubernetes', 'insecure-skip-tls-verify': true };
  const env = { HTTPS_PROXY: 'proxy.test:3128' };
  const access = await load({ cluster, env });
  assert.deepEqual(access.tls, { ca: undefined, serverName: 'kubernetes', insecure: true });
  assert.equal(access.proxy?.href, 'http://proxy.test:3128/');
  assert.equal(access.proxyFor(new URL('http://x/'))?.href, undefined);
  assert.equal(
    (await load({ cluster: { 'proxy-url': 'http://other:1' }, env })).proxy?.href,
    'http://other:1/',
  );
});

const HEADERS: readonly [string, object, object][] = [
  ['a token', { token: 'abc' }, { authorization: 'Bearer abc' }],
  ['name and password', { username: 'jane', password: 'pä' }, { authorization: 'Basic amFuZTpww6Q=' }],
  ['a token before a password', { token: 'abc', username: 'jane' }, { authorization: 'Bearer abc' }],
  [
    'impersonation',
    {
      token: 'abc',
      as: 'joe',
      'as-uid': '7',
      'as-groups': ['dev', 'ops'],
      'as-user-extra': { 'Team/x': ['a'] },
    },
    {
      authorization: 'Bearer abc',
      'impersonate-user': 'joe',
      'impersonate-uid': '7',
      'impersonate-group': ['dev', 'ops'],
      'impersonate-extra-team%2fx': ['a'],
    },
  ],
];

for (const [what, user, headers] of HEADERS) {
  test(`${what} becomes headers`, async () => {
    assert.deepEqual((await (await load({ user })).credentials.current()).headers, headers);
  });
}

test('a token file counts more than a token', async () => {
  writeFileSync(join(folder, 'token'), 'from file\n');
  const access = await load({ user: { token: 'abc', tokenFile: 'token' } });
  assert.deepEqual((await access.credentials.current()).headers, { authorization: 'Bearer from file' });
});

test('a token file is read again after a minute, and after a refusal', async () => {
  const [tokens, clock] = [['a', 'b', 'c', 'c'], { now: 0 }];
  const given = tokenFileCredentials(
    () => Promise.resolve(tokens.shift() ?? ''),
    undefined,
    () => clock.now,
  );
  const token = async () => (await given.current()).headers['authorization'];
  assert.equal(await token(), 'Bearer a');
  clock.now = 59_999;
  assert.equal(await token(), 'Bearer a');
  clock.now = 60_000;
  assert.equal(await token(), 'Bearer b');
  assert.equal(await given.renew(await given.current()), true);
  assert.equal(await token(), 'Bearer c');
  assert.equal(await given.renew(await given.current()), false);
});

test('impersonation over credentials that change follows them, and asks them about refusals', async () => {
  const inner = fixedCredentials({ headers: { authorization: 'x' }, identity: undefined });
  const asked: unknown[] = [];
  const outer = withHeaders(
    { ...inner, renew: (rejected) => (asked.push(rejected), Promise.resolve(true)) },
    { a: 'b' },
  );
  const now = await outer.current();
  assert.equal(await outer.current(), now);
  await outer.renew(now);
  assert.deepEqual(asked, [await inner.current()]);
});

const INVALID: readonly [string, Parts, string, RegExp][] = [
  ['no server', { cluster: { server: '' } }, 'KUBECONFIG_INVALID', /server "" is no URL/],
  ['a server that is no http', { cluster: { server: 'ftp://x' } }, 'KUBECONFIG_INVALID', /is no http URL/],
  [
    'base64 of no PEM',
    { cluster: { 'certificate-authority-data': 'AAAA' } },
    'KUBECONFIG_INVALID',
    /no base64 of a PEM/,
  ],
  [
    'a missing file',
    { cluster: { 'certificate-authority': 'no.crt' } },
    'KUBECONFIG_UNREADABLE',
    /no\.crt": no such file/,
  ],
  [
    'a certificate without key',
    { user: { 'client-certificate-data': DATA } },
    'KUBECONFIG_INVALID',
    /not both/,
  ],
  [
    'an auth-provider',
    { user: { 'auth-provider': { name: 'gcp' } } },
    'KUBECONFIG_INVALID',
    /auth-provider "gcp"/,
  ],
  ['a token with a newline', { user: { token: 'a\nb' } }, 'KUBECONFIG_INVALID', /no header may have/],
  ['a token that is a list', { user: { token: ['a'] } }, 'KUBECONFIG_INVALID', /"token" is no text/],
  [
    'an old plugin',
    { user: { exec: { apiVersion: 'x/v1', command: 'a' } } },
    'KUBECONFIG_INVALID',
    /is not spoken/,
  ],
  [
    'a SOCKS proxy',
    { cluster: { 'proxy-url': 'socks5://x:1' } },
    'PROXY_UNSUPPORTED',
    /"socks5:" are not supported/,
  ],
];

for (const [what, parts, code, message] of INVALID) {
  test(`${what}: ${code}`, async () => {
    await assert.rejects(load(parts), { code, message });
  });
}

test('no kubeconfig at all says where it was looked for', async () => {
  await assert.rejects(loadAccess({ invoker: someone({ home: folder }) }), {
    code: 'KUBECONFIG_MISSING',
    message: `no kubeconfig: "${folder}/.kube/config" does not exist`,
  });
});

test('a pod’s access: address, authority, namespace, token', async () => {
  for (const [name, text] of [
    ['ca.crt', PEM],
    ['namespace', 'cz-system'],
    ['token', 'abc\n'],
  ] as const)
    writeFileSync(join(folder, name), text);
  const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' };
  const access = await inClusterAccess(env, folder);
  assert.equal(access.server.href, 'https://[fd00::1]:6443/');
  assert.deepEqual([access.tls.ca, access.namespace], [PEM, 'cz-system']);
  assert.deepEqual((await access.credentials.current()).headers, { authorization: 'Bearer abc' });
  await assert.rejects(inClusterAccess({}, folder), { code: 'KUBECONFIG_MISSING' });
  await assert.rejects(inClusterAccess(env, '/nonexistent'), { code: 'KUBECONFIG_MISSING' });
});
