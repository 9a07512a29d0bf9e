/**
 * Which proxy a connection takes: kubeconfig, environment, NO_PROXY.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bypassed, chooseProxy } from '../../../src/kube/proxy.js';

const CHOICES: readonly [string, string | undefined, Record<string, string>, string | undefined][] = [
  ['https://api.test', undefined, {}, undefined],
  ['https://api.test', undefined, { HTTPS_PROXY: 'http://p:3128' }, 'http://p:3128/'],
  ['https://api.test', undefined, { https_proxy: 'http://p:3128' }, 'http://p:3128/'],
  ['https://api.test', undefined, { HTTPS_PROXY: 'p:3128' }, 'http://p:3128/'],
  ['https://api.test', undefined, { HTTPS_PROXY: 'https://me:x@p' }, 'https://me:x@p/'],
  ['https://api.test', undefined, { HTTP_PROXY: 'http://p' }, undefined],
  ['http://api.test', undefined, { HTTP_PROXY: 'http://p' }, 'http://p/'],
  ['https://api.test', undefined, { HTTPS_PROXY: 'http://p', NO_PROXY: 'api.test' }, undefined],
  ['https://api.test', 'http://q', { HTTPS_PROXY: 'http://p', NO_PROXY: 'api.test' }, 'http://q/'],
  ['https://127.0.0.1:6443', undefined, { HTTPS_PROXY: 'http://p' }, undefined],
  ['https://127.0.0.1:6443', 'http://q', {}, 'http://q/'],
  ['https://localhost:6443', undefined, { HTTPS_PROXY: 'http://p' }, undefined],
];

for (const [server, proxyUrl, env, expected] of CHOICES) {
  test(`${server} with proxy-url ${proxyUrl} and ${JSON.stringify(env)} takes ${expected}`, () => {
    assert.equal(chooseProxy(new URL(server), proxyUrl, env)?.href, expected);
  });
}

const BYPASSES: readonly [string, string, boolean][] = [
  ['*', 'https://api.test', true],
  ['test', 'https://api.test', true],
  ['.test', 'https://api.test', true],
  ['*.test', 'https://api.test', true],
  ['api.test', 'https://api.test', true],
  ['.api.test', 'https://api.test', false],
  ['pi.test', 'https://api.test', false],
  ['API.test', 'https://api.TEST', true],
  ['api.test:443', 'https://api.test', true],
  ['api.test:6443', 'https://api.test', false],
  [' other , api.test', 'https://api.test', true],
  ['10.0.0.0/8', 'https://10.1.2.3', true],
  ['10.0.0.0/8', 'https://11.1.2.3', false],
  ['10.0.0.0/99', 'https://10.1.2.3', false],
  ['10.0.0.0/8', 'https://ten.test', false],
  ['10.1.2.3', 'https://10.1.2.3', true],
  ['2.3', 'https://10.1.2.3', false],
  ['fd00::/8', 'https://[fd00::1]:6443', true],
  ['fd00::1', 'https://[fd00::1]:6443', true],
  ['[fd00::1]:6443', 'https://[fd00::1]:6443', true],
  ['[fd00::1]:443', 'https://[fd00::1]:6443', false],
  ['', 'https://api.test', false],
  [',,', 'https://api.test', false],
];

for (const [rule, server, expected] of BYPASSES) {
  test(`NO_PROXY "${rule}" ${expected ? 'names' : 'does not name'} ${server}`, () => {
    assert.equal(bypassed(new URL(server), rule), expected);
  });
}

test('a proxy that is none is refused without its password', () => {
  const choose = (text: string) => () => chooseProxy(new URL('https://x'), text, {});
  assert.throws(choose('http://me:secret@:x'), {
    code: 'KUBECONFIG_INVALID',
    message: /^(?!.*secret).*is no URL$/,
  });
  assert.throws(choose('socks5://p:1080'), { code: 'PROXY_UNSUPPORTED' });
});
