/**
 * Who may call what on the daemon's socket.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf } from '../../../src/base/errors.js';
import { createAccess, type Owner } from '../../../src/control/access.js';
import type { MethodName } from '../../../src/control/schema.js';

const ada: Owner = { uid: 1000, user: 'ada' };

const cases: readonly [number, MethodName, Owner | undefined, string | undefined][] = [
  [0, 'connect', undefined, undefined],
  [0, 'connect', ada, undefined],
  [0, 'disconnect', ada, undefined],
  [1000, 'status', ada, undefined],
  [1000, 'disconnect', ada, undefined],
  [1000, 'logs', ada, undefined],
  [1000, 'doctor', ada, undefined],
  [1000, 'connect', ada, 'NOT_ROOT'],
  [1000, 'connect', undefined, 'NOT_ROOT'],
  [1001, 'status', ada, 'NOT_PERMITTED'],
  [1001, 'disconnect', ada, 'NOT_PERMITTED'],
  [1001, 'logs', ada, 'NOT_PERMITTED'],
  [1001, 'status', undefined, undefined],
  [1001, 'disconnect', undefined, 'NOT_CONNECTED'],
];
for (const [uid, method, owner, code] of cases) {
  const whose = owner === undefined ? 'nobody is connected' : `${owner.user} is connected`;
  test(`${method} by uid ${uid} while ${whose}: ${code ?? 'allowed'}`, () => {
    const call = () => createAccess(() => owner)({ pid: 7, uid, gid: uid }, method);
    if (code === undefined) assert.doesNotThrow(call);
    else assert.throws(call, (error) => codeOf(error) === code);
  });
}

test('a refusal says whose the session is', () => {
  assert.throws(
    () => createAccess(() => ada)({ pid: 7, uid: 1001, gid: 1001 }, 'status'),
    /session belongs to the user "ada"/,
  );
});
