/**
 * Answers for people: the status, its times, log lines, doctor's findings, version fits; the end of a growing file.
 */
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatFindings } from '../../../src/cli/doctor.js';
import { formatLogLine } from '../../../src/cli/log-line.js';
import { formatAge, formatStatus } from '../../../src/cli/status.js';
import { followLines, lastLines } from '../../../src/cli/tail.js';
import { fit } from '../../../src/cli/version.js';
import { disconnectedStatus, type Status } from '../../../src/control/schema.js';
import { createBoundedWriter } from '../../../src/daemon/log-file.js';
import { openSync, closeSync, readFileSync, statSync } from 'node:fs';
import { eventually } from '../../support/private-laptop.js';

const plain = { paint: (_: unknown, text: string) => text };
const now = new Date('2030-01-01T12:00:00Z');

const connected: Status = {
  ...disconnectedStatus('1.0.0'),
  state: 'reconnecting',
  context: 'shop-\u001B[31mdev',
  server: 'https://192.0.2.1:6443',
  namespaces: ['shop'],
  session: { id: '8c0f', since: '2030-01-01T09:00:00Z' },
  via: 'pod-proxy',
  roundTripMs: 0.7,
  interface: { name: 'cz0', addresses: ['198.18.0.2/32'], mtu: 1450 },
  routes: Array.from({ length: 9 }, (_, index) => `10.${index}.0.0/16`),
  dns: { mechanism: 'resolv.conf', server: '198.19.255.53', zones: ['cluster.local'] },
  manager: { namespace: 'cz-system', pod: 'cz-manager-0', version: '1.0.0' },
  lost: { since: '2030-01-01T11:59:50Z', reason: 'silence' },
};

test('the status for people: one fact a line, long lists cut, nothing that steers the terminal', () => {
  assert.equal(
    formatStatus(connected, false, plain, now),
    `reconnecting to "shop-�[31mdev" since 3 h ago
  lost        since 10 s ago: silence
  server      https://192.0.2.1:6443
  way         pod-proxy, 0.7 ms
  namespaces  shop
  interface   cz0  198.18.0.2/32  mtu 1450
  routes      10.0.0.0/16, 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16, 10.4.0.0/16, 10.5.0.0/16 and 3 more
  dns         198.19.255.53 by resolv.conf: cluster.local
  manager     cz-system/cz-manager-0, version 1.0.0
`,
  );
  assert.match(formatStatus(connected, true, plain, now), /10\.8\.0\.0\/16\n[\s\S]*session {5}8c0f\n/);
});

const ages: readonly [string, string][] = [
  ['2030-01-01T11:59:59Z', '1 s ago'],
  ['2030-01-01T11:55:00Z', '5 min ago'],
  ['2030-01-01T05:00:00Z', '7 h ago'],
  ['2029-12-01T12:00:00Z', '31 days ago'],
  ['2030-01-01T12:00:05Z', '0 s ago'],
];
for (const [since, text] of ages)
  test(`${since} is ${text}`, () => assert.equal(formatAge(since, now), text));

test('a log line for people, for programs, and one that is none', () => {
  const line =
    '{"time":"2030-01-01T12:00:00.000Z","level":"warn","message":"lost","reason":"silence\\u001b"}';
  assert.equal(
    formatLogLine('daemon', line, undefined, plain),
    'daemon   2030-01-01T12:00:00.000Z  warn   lost  reason="silence\\u001b"',
  );
  assert.equal(formatLogLine('manager', line, 'json', plain), `{"end":"manager",${line.slice(1)}`);
  assert.equal(formatLogLine('manager', 'panic:\u0007', undefined, plain), 'manager  panic:�');
  assert.equal(formatLogLine('manager', 'panic', 'json', plain), '{"end":"manager","message":"panic"}');
});

test('findings: state, check, what is, and the next step below', () => {
  const text = formatFindings(
    [
      { check: 'tun', state: 'ok', found: '/dev/net/tun' },
      { check: 'rights', state: 'failed', found: 'may not', next: 'ask' },
    ],
    plain,
  );
  assert.equal(text, 'ok       tun     /dev/net/tun\nfailed   rights  may not\n                 → ask\n');
});

const fits: readonly [string, string, boolean][] = [
  ['1.2.0', '1.9.3', true],
  ['1.2.0', '2.0.0', false],
  ['0.1.0', '0.1.7', true],
  ['0.1.0', '0.2.0', false],
];
for (const [a, b, does] of fits)
  test(`${a} and ${b} ${does ? 'fit' : 'do not fit'}`, () => assert.equal(fit(a, b), does));

test('the last lines of a file', async (t) => {
  const path = join(folderOf(t), 'log');
  writeFileSync(path, 'a\nb\nc\n');
  assert.deepEqual(await lastLines(path, 2), ['b', 'c']);
  assert.deepEqual(await lastLines(path, 0), []);
  assert.deepEqual(await lastLines(path, 10), ['a', 'b', 'c']);
});

test('following a file: whole lines as they come, over a cut and over a new file in its place', async (t) => {
  const path = join(folderOf(t), 'log');
  writeFileSync(path, 'before\n');
  const seen: string[] = [];
  const abort = new AbortController();
  const done = followLines(path, (line) => seen.push(line), abort.signal);
  const until = (line: string) => eventually(`"${line}" is seen`, () => seen.includes(line));
  await eventually('following has begun', () => {
    appendFileSync(path, 'first\n');
    return seen.includes('first');
  });
  appendFileSync(path, 'ha');
  appendFileSync(path, 'lf\n');
  await until('half');
  truncateSync(path, 0);
  appendFileSync(path, 'cut\n');
  await until('cut');
  writeFileSync(`${path}.new`, 'a new file, longer than the one before it was\n');
  renameSync(`${path}.new`, path);
  await until('a new file, longer than the one before it was');
  abort.abort();
  await done;
  assert.ok(!seen.includes('before') && !seen.includes('ha'), seen.join());
});

test('the daemon’s log stays bounded: what outgrows the limit moves to .1, of the same owner alone', (t) => {
  const path = join(folderOf(t), 'log');
  const fd = openSync(path, 'a', 0o600);
  const write = createBoundedWriter(path, fd, 1000);
  for (let line = 0; line < 500; line += 1) write(`line ${line} ${'x'.repeat(50)}`);
  closeSync(fd);
  for (const file of [path, `${path}.1`]) assert.ok(statSync(file).size <= 1100, file);
  assert.equal(statSync(`${path}.1`).mode & 0o777, 0o600);
  const kept = (readFileSync(`${path}.1`, 'utf8') + readFileSync(path, 'utf8')).trim().split('\n');
  assert.match(kept.at(-1) ?? '', /^line 499 /);
  assert.ok(kept.length >= 15, `${kept.length} lines`);
});

function folderOf(t: { after(clean: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'cz-answers-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}
