/**
 * Refusals in the API server's own words become errors in the user's.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apiError, printable } from '../../../src/kube/status.js';
import { fixedCredentials } from '../../../src/kube/credentials.js';

const access = {
  context: 'dev',
  namespace: 'default',
  server: new URL('https://api.test'),
  tls: { ca: undefined, serverName: undefined, insecure: false },
  proxy: undefined,
  proxyFor: () => undefined,
  credentials: fixedCredentials({ headers: {}, identity: undefined }),
};

const refusal = (httpStatus: number, body: string) =>
  apiError({ access, identity: undefined, httpStatus, body, asked: 'GET /api/v1/pods' });

const status = (message: string) => JSON.stringify({ kind: 'Status', message, reason: 'Forbidden' });

// the first column as kube-apiserver 1.36 writes it
const FORBIDDEN: readonly [string, string, RegExp | undefined][] = [
  [
    'sessions.cz.dev is forbidden: User "jane" cannot create resource "sessions" in API group "cz.dev" in the namespace "cz-system"',
    'user "jane" may not create sessions.cz.dev in namespace "cz-system"',
    /cz install --allow-group GROUP/,
  ],
  [
    'pods "cz-manager-0:443" is forbidden: User "jane" cannot get resource "pods/proxy" in API group "" in the namespace "cz-system"',
    'user "jane" may not get pods/proxy "cz-manager-0:443" in namespace "cz-system"',
    /cz install --allow-group GROUP/,
  ],
  [
    'nodes is forbidden: User "jane@x.test" cannot list resource "nodes" in API group "" at the cluster scope',
    'user "jane@x.test" may not list nodes in the whole cluster',
    /administrator .* Role/,
  ],
  [
    'forbidden: User "system:anonymous" cannot get path "/x"',
    'user "system:anonymous" may not get /x in the whole cluster',
    /has no credential/,
  ],
  [
    "sessions.cz.dev \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: spec.user must be jane",
    "sessions.cz.dev \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: spec.user must be jane",
    undefined,
  ],
];

for (const [said, message, hint] of FORBIDDEN) {
  test(`403 "${said.slice(0, 60)}…" names verb, resource, namespace and user`, () => {
    const error = refusal(403, status(said));
    assert.equal(error.code, 'NOT_PERMITTED');
    assert.equal(error.message, message);
    if (hint === undefined) assert.equal(error.hint, undefined);
    else assert.match(error.hint ?? '', hint);
  });
}

test('an answer that is no Status (a proxy’s page) is named by method, path and number', () => {
  for (const body of ['', '<html>', '[]', '{"kind":"Status","message":7}', '{"kind":"Pod"}'])
    assert.match(refusal(503, body).message, /^(?:GET \/api\/v1\/pods: the API server answered 503|7)$/);
  assert.equal(refusal(503, '').code, 'API_FAILED');
});

test('no control character of an answer reaches the terminal', () => {
  assert.equal(printable('a\u001b[31mb\u0007\nc\u202e'), 'a?[31mb?\nc?');
  assert.equal(printable('x'.repeat(5000)).length, 2000);
});
