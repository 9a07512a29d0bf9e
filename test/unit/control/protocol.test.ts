/**
 * The lines of the control socket and the shapes of what they carry: read back as written, and harmless whatever
 * the bytes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { CzError, hasCode } from '../../../src/base/errors.js';
import {
  createLineReader,
  decodeReply,
  decodeRequest,
  encodeLine,
  fromWire,
  toWire,
} from '../../../src/control/protocol.js';
import { PARAMS, RESULTS, disconnectedStatus } from '../../../src/control/schema.js';
import { CONNECT_PARAMS } from '../../support/control.js';

test('messages read back as they were written', () => {
  const request = { id: 3, method: 'status', params: {} };
  assert.deepEqual(decodeRequest(encodeLine(request)), request);
  assert.deepEqual(decodeRequest(encodeLine({ id: 3, cancel: true })), { id: 3, cancel: true });
  for (const reply of [
    { id: 3, event: { kind: 'started' } },
    { id: 3, result: [1] },
    { id: 3, error: { code: 'A', message: 'b' } },
    { error: { code: 'A', message: 'b' } },
  ])
    assert.deepEqual(decodeReply(encodeLine(reply)), reply);
});

test('an error crosses the socket with its code, message and hint, and without its cause', () => {
  const error = new CzError('CONFLICT', 'taken', { hint: 'leave', cause: new Error('secret') });
  assert.deepEqual(toWire(error), { code: 'CONFLICT', message: 'taken', hint: 'leave' });
  const back = fromWire(toWire(error));
  assert.deepEqual([back.code, back.message, back.hint], ['CONFLICT', 'taken', 'leave']);
  assert.deepEqual(toWire(new TypeError('x')), { code: 'FAILED', message: 'x' });
});

test('lines are the same however the bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string().filter((s) => !s.includes('\n') && s !== '')),
      fc.infiniteStream(fc.integer({ min: 1, max: 7 })),
      (lines, sizes) => {
        const seen: string[] = [];
        const read = createLineReader((line) => seen.push(line));
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        for (let at = 0; at < bytes.length;) {
          const size = sizes.next().value;
          read(bytes.subarray(at, at + size));
          at += size;
        }
        assert.deepEqual(
          seen,
          lines.map((line) => Buffer.from(line).toString()),
        );
      },
    ),
  );
});

test('a line without an end is refused at the limit', () => {
  const read = createLineReader(() => assert.fail('no line'), 10);
  read(Buffer.from('0123456789'));
  assert.throws(
    () => read(Buffer.from('0')),
    (error) => hasCode(error, 'MALFORMED'),
  );
});

test('any text is a message or MALFORMED, nothing else', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      for (const decode of [decodeRequest, decodeReply]) {
        try {
          decode(line);
        } catch (error) {
          assert.ok(hasCode(error, 'MALFORMED'), String(error));
        }
      }
    }),
  );
});

test('any JSON is parameters and results of the right shape, or MALFORMED', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      for (const shape of [...Object.values(PARAMS), ...Object.values(RESULTS)]) {
        try {
          shape(value);
        } catch (error) {
          assert.ok(hasCode(error, 'MALFORMED'), String(error));
        }
      }
    }),
  );
});

test('the parameters of a connect: what is dropped, what is refused', () => {
  assert.deepEqual(PARAMS.connect(CONNECT_PARAMS), CONNECT_PARAMS);
  assert.deepEqual(PARAMS.connect({ ...CONNECT_PARAMS, later: 1 }), CONNECT_PARAMS);
  const refused: readonly [string, object][] = [
    ['a relative kubeconfig', { kubeconfig: 'config' }],
    ['a namespace that is none', { namespaces: ['../x'] }],
    ['a manager URL that is no websocket', { managerUrl: 'http://x' }],
    ['an environment of numbers', { invoker: { ...CONNECT_PARAMS.invoker, env: { A: 1 } } }],
    ['a home that is no path', { invoker: { ...CONNECT_PARAMS.invoker, home: 'ada' } }],
    ['a route with a blank', { alsoRoute: ['10.0.0.0/8 via'] }],
    ['a uid below zero', { invoker: { ...CONNECT_PARAMS.invoker, uid: -1 } }],
  ];
  for (const [what, change] of refused)
    assert.throws(
      () => PARAMS.connect({ ...CONNECT_PARAMS, ...change }),
      (error) => hasCode(error, 'MALFORMED'),
      what,
    );
});

test('the status of a laptop on which nothing runs has every key', () => {
  const status = disconnectedStatus('1.2.3');
  assert.deepEqual(RESULTS.status(JSON.parse(JSON.stringify(status))), status);
  const keys =
    'state context server namespaces session via roundTripMs interface routes dns manager intercepts exposes mounts lost user daemon client';
  assert.deepEqual(Object.keys(status), keys.split(' '));
});
