/**
 * Kubeconfig files: which are read, how several become one, what a context names, and what bad ones get.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { CzError } from '../../../src/base/errors.js';
import {
  kubeconfigPaths,
  merged,
  nearest,
  parseKubeconfig,
  pathIn,
  readKubeconfig,
  selectContext,
} from '../../../src/kube/kubeconfig.js';
import { someone } from '../../support/invoker.js';

const folder = mkdtempSync(join(tmpdir(), 'cz-kubeconfig-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const config = (context: string, server: string, current = context): string => `
apiVersion: v1
kind: Config
current-context: ${current}
contexts: [{name: ${context}, context: {cluster: c, user: u-${context}, namespace: ns-${context}}}]
clusters: [{name: c, cluster: {server: "${server}"}}]
users: [{name: u-${context}, user: {token: t-${context}}}]
`;

test('--kubeconfig alone; else the files of KUBECONFIG; else the one in the home', () => {
  const base = someone({ env: { PWD: '/srv', KUBECONFIG: '/a::b:/a' }, home: '/home/jane' });
  assert.deepEqual(kubeconfigPaths(base, 'x.yaml'), ['/srv/x.yaml']);
  assert.deepEqual(kubeconfigPaths(base), ['/a', '/srv/b']);
  assert.deepEqual(kubeconfigPaths({ ...base, env: {} }), ['/home/jane/.kube/config']);
});

test('of entries with one name the first file’s counts, whole; so does its current context', async () => {
  const first = await parseKubeconfig(config('one', 'https://first'), '/1');
  const second = await parseKubeconfig(config('two', 'https://second'), '/2');
  const all = merged([first, second]);
  assert.equal(all.currentContext, 'one');
  assert.equal(all.clusters.get('c')?.fields['server'], 'https://first');
  assert.deepEqual([...all.contexts.keys()].sort(), ['one', 'two']);
  const { context, namespace, userName, cluster } = selectContext(all, 'two');
  assert.deepEqual([context, namespace, userName, cluster.file], ['two', 'ns-two', 'u-two', '/1']);
});

test('a file of KUBECONFIG that is not there is passed over; a first file without current context too', async () => {
  const path = file('two', config('two', 'https://x'));
  const none = file('none', 'apiVersion: v1\nkind: Config\n');
  const invoker = someone({ env: { KUBECONFIG: `${folder}/missing:${none}:${path}` } });
  assert.equal((await readKubeconfig(invoker))?.currentContext, 'two');
});

test('a kubeconfig that is JSON is read as well', async () => {
  const json = JSON.stringify({
    'current-context': 'j',
    contexts: [{ name: 'j', context: { cluster: 'c' } }],
  });
  assert.equal((await parseKubeconfig(json, '/j')).currentContext, 'j');
});

test('relative paths are relative to the file that has them', async () => {
  const part = await parseKubeconfig(config('one', 'https://x'), '/home/jane/.kube/config');
  const { cluster } = selectContext(part);
  assert.equal(pathIn(cluster, '../ca.crt'), '/home/jane/ca.crt');
  assert.equal(pathIn(cluster, '/etc/ca.crt'), '/etc/ca.crt');
});

test('nothing named and nothing there: none; something named and not there: KUBECONFIG_MISSING', async () => {
  const home = join(folder, 'home');
  mkdirSync(home, { recursive: true });
  assert.equal(await readKubeconfig(someone({ home })), undefined);
  const missing = { code: 'KUBECONFIG_MISSING', message: `kubeconfig "${folder}/nothing" does not exist` };
  await assert.rejects(readKubeconfig(someone({ env: { KUBECONFIG: `${folder}/nothing` } })), missing);
  await assert.rejects(readKubeconfig(someone(), `${folder}/nothing`), missing);
});

test('a folder or a device instead of a file is KUBECONFIG_UNREADABLE, at once', async () => {
  for (const path of [folder, '/dev/zero'])
    await assert.rejects(readKubeconfig(someone(), path), {
      code: 'KUBECONFIG_UNREADABLE',
      message: `kubeconfig: "${path}" is no regular file`,
    });
});

const INVALID: readonly [string, string, RegExp][] = [
  ['broken YAML', 'a: b\nc: [1, 2\n', /kubeconfig "\/f": line \d+: /],
  ['a tab for indentation', 'contexts:\n\t- a\n', /line 2/],
  ['a list', '- a\n', /the file is no mapping/],
  ['contexts that are no list', 'contexts: {}\n', /"contexts" is no list/],
  ['a cluster that is text', 'clusters: [{name: a, cluster: b}]\n', /clusters "a" is no mapping/],
  ['a bomb of aliases', bomb(), /alias/i],
];

for (const [what, text, message] of INVALID) {
  test(`${what} is KUBECONFIG_INVALID and names the file`, async () => {
    await assert.rejects(parseKubeconfig(text, '/f'), { code: 'KUBECONFIG_INVALID', message });
  });
}

function bomb(): string {
  const lines = ['a: &a [x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 12; i++) {
    const [name, before] = [String.fromCharCode(97 + i), String.fromCharCode(96 + i)];
    lines.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${before}`).join(', ')}]`);
  }
  return lines.join('\n');
}

test('any text is either a kubeconfig or KUBECONFIG_INVALID', async () => {
  const pieces = fc.constantFrom(
    'contexts:',
    'users',
    ': ',
    '\n',
    '- ',
    'name',
    '{',
    '}',
    '[',
    '&a',
    '*a',
    '"',
    '!',
    '|',
  );
  const texts = fc.oneof(
    fc.string(),
    fc.array(pieces, { maxLength: 40 }).map((parts) => parts.join('')),
  );
  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      await parseKubeconfig(text, '/f').catch((error: unknown) => {
        assert.ok(error instanceof CzError && error.code === 'KUBECONFIG_INVALID', String(error));
      });
    }),
    { numRuns: 500 },
  );
});

test('no current context, and an unknown one, offer what there is, nearest first', async () => {
  const part = await parseKubeconfig(
    'contexts: [{name: staging-eu}, {name: prod-us}, {name: prod-eu}]',
    '/f',
  );
  const noCurrent = {
    code: 'CONTEXT_UNKNOWN',
    message: /no current context/,
    hint: /"staging-eu", "prod-us"/,
  };
  assert.throws(() => selectContext(part), noCurrent);
  assert.throws(() => selectContext(part, 'prd-eu'), {
    code: 'CONTEXT_UNKNOWN',
    message: 'the context "prd-eu" is not in the kubeconfig',
    hint: 'there are: "prod-eu", "prod-us", "staging-eu"',
  });
  assert.deepEqual(nearest('stag', ['prod', 'my-staging', 'stig']), ['my-staging', 'stig', 'prod']);
});

test('a context without a user has none; fields of a wrong type are named', async () => {
  const clusters = 'clusters: [{name: c, cluster: {}}]';
  const part = await parseKubeconfig(`contexts: [{name: a, context: {cluster: c}}]\n${clusters}`, '/f');
  assert.deepEqual(selectContext(part, 'a').user.fields, {});
  const odd = await parseKubeconfig(`contexts: [{name: a, context: {cluster: [c]}}]\n${clusters}`, '/f');
  const message = 'kubeconfig "/f": "cluster" is no text';
  assert.throws(() => selectContext(odd, 'a'), { code: 'KUBECONFIG_INVALID', message });
});

test('a context that names a missing cluster or user says which', async () => {
  const text = 'contexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {}}]';
  const part = await parseKubeconfig(text, '/f');
  const message = 'kubeconfig "/f": context "a" names the user "u", which is not there';
  assert.throws(() => selectContext(part, 'a'), { code: 'KUBECONFIG_INVALID', message });
  const other = await parseKubeconfig(text.replace('cluster: c,', 'cluster: gone,'), '/f');
  assert.throws(() => selectContext(other, 'a'), {
    code: 'KUBECONFIG_INVALID',
    message: /names the cluster "gone"/,
  });
});
