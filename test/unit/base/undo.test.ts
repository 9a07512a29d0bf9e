/**
 * The undo journal: what is on disk before a change, what a replay does after a crash at any byte, and what root
 * refuses to replay. Mounts are made in a mount namespace of the test's own (undo-mount.test.ts).
 */
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import * as fc from 'fast-check';
import { hasCode } from '../../../src/base/errors.js';
import { openJournal, replayJournal, type UndoAction } from '../../../src/base/undo.js';

let folder = '';
let journalPath = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cz-undo-'));
  journalPath = join(folder, 'journal');
});
afterEach(() => rmSync(folder, { recursive: true }));

const appendTo = (file: string, text: string): UndoAction => ({
  kind: 'run',
  argv: ['/bin/sh', '-c', 'printf %s "$1" >> "$2"', 'sh', text, join(folder, file)],
});
const restoreOf = (path: string, content: string, onlyIfStarts?: string): UndoAction => ({
  kind: 'restore',
  path,
  content: Buffer.from(content).toString('base64'),
  mode: 0o640,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  ...(onlyIfStarts === undefined ? {} : { onlyIfStarts }),
});
const textOf = (file: string) => readFileSync(join(folder, file), 'utf8');

test('an action is on disk, readable by its owner alone, when record returns', async () => {
  const journal = await openJournal(journalPath);
  await journal.record('route', { kind: 'run', argv: ['/bin/true'] });
  assert.equal(textOf('journal'), '{"id":1,"step":"route","action":{"kind":"run","argv":["/bin/true"]}}\n');
  assert.equal(statSync(journalPath).mode & 0o777, 0o600);
  assert.deepEqual(journal.pending(), ['route']);
  await journal.close();
  assert.ok(existsSync(journalPath), 'pending actions outlive close');
});

test('a replay goes from the newest to the oldest and removes the journal', async () => {
  const journal = await openJournal(journalPath);
  for (const step of ['a', 'b', 'c']) await journal.record(step, appendTo('order', step));
  await journal.close();
  assert.deepEqual(await replayJournal(journalPath), { undone: ['c', 'b', 'a'], failed: [] });
  assert.equal(textOf('order'), 'cba');
  assert.ok(!existsSync(journalPath));
  assert.deepEqual(await replayJournal(journalPath), { undone: [], failed: [] });
});

test('an entry undone by itself is not undone again', async () => {
  const journal = await openJournal(journalPath);
  await journal.record('a', appendTo('order', 'a'));
  const entry = await journal.record('b', appendTo('order', 'b'));
  await Promise.all([entry.undo(), entry.undo()]);
  await journal.close();
  assert.deepEqual((await replayJournal(journalPath)).undone, ['a']);
  assert.equal(textOf('order'), 'ba');
});

test('one that fails stops no other, is named, and is pending for the next replay', async () => {
  const journal = await openJournal(journalPath);
  await journal.record('good', appendTo('order', 'x'));
  await journal.record('bad', { kind: 'run', argv: ['/bin/sh', '-c', 'echo no such rule >&2; exit 2'] });
  await journal.close();
  const report = await replayJournal(journalPath);
  assert.deepEqual(report.undone, ['good']);
  assert.deepEqual(
    report.failed.map(({ step }) => step),
    ['bad'],
  );
  assert.match(report.failed[0]?.reason ?? '', /no such rule/);
  const again = await openJournal(journalPath);
  assert.deepEqual(again.pending(), ['bad']);
  await again.close();
});

test('an exit code that means nothing to undo is no failure', async () => {
  const journal = await openJournal(journalPath);
  await journal.record('rule', { kind: 'run', argv: ['/bin/sh', '-c', 'exit 2'], okCodes: [0, 2] });
  assert.deepEqual(await journal.undoAll(), { undone: ['rule'], failed: [] });
  await journal.close();
});

test('a journal cut at any byte replays every action whose record was whole', async () => {
  const steps = ['a', 'b', 'c', 'd'];
  const whole = steps.map((step, index) =>
    JSON.stringify({ id: index + 1, step, action: appendTo('order', step) }),
  );
  const bytes = `${whole.join('\n')}\n`;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: bytes.length }), async (cut) => {
      writeFileSync(journalPath, bytes, { mode: 0o600 });
      truncateSync(journalPath, cut);
      writeFileSync(join(folder, 'order'), '');
      const journal = await openJournal(journalPath);
      const kept = journal.pending().length;
      await journal.record('late', appendTo('order', '!'));
      await journal.close();
      const { failed } = await replayJournal(journalPath);
      const ends = whole.map((_, index) => whole.slice(0, index + 1).join('\n').length);
      assert.equal(kept, ends.filter((end) => end <= cut).length);
      assert.deepEqual(failed, []);
      assert.equal(textOf('order'), `!${steps.slice(0, kept).reverse().join('')}`);
    }),
    { numRuns: 25 },
  );
});

test('a whole line of an unknown kind is reported and kept, the others are undone', async () => {
  const known = JSON.stringify({ id: 1, step: 'a', action: appendTo('order', 'a') });
  writeFileSync(journalPath, `${known}\n{"id":2,"step":"b","action":{"kind":"teleport"}}\n`, { mode: 0o600 });
  const report = await replayJournal(journalPath);
  assert.deepEqual(report.undone, ['a']);
  assert.deepEqual(report.failed, [
    { step: 'journal', reason: 'line 2: "line.action.kind" is of no known kind' },
  ]);
  assert.ok(existsSync(journalPath));
});

test('any bytes are no journal that does harm', async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (bytes) => {
      writeFileSync(journalPath, bytes, { mode: 0o600 });
      assert.deepEqual((await replayJournal(journalPath)).undone, []);
      rmSync(journalPath, { force: true });
    }),
    { numRuns: 100 },
  );
});

const unsafe: readonly [string, () => void][] = [
  ['writable by the group', () => chmodSync(journalPath, 0o660)],
  ['writable by all', () => chmodSync(journalPath, 0o602)],
];
for (const [what, spoil] of unsafe) {
  test(`a journal that is ${what} is refused`, async () => {
    writeFileSync(journalPath, `${JSON.stringify({ id: 1, step: 'a', action: appendTo('order', 'a') })}\n`);
    spoil();
    await assert.rejects(replayJournal(journalPath), (error) => hasCode(error, 'JOURNAL_UNSAFE'));
    assert.ok(!existsSync(join(folder, 'order')));
  });
}

test('a journal that is a symbolic link is refused', async () => {
  writeFileSync(join(folder, 'elsewhere'), '', { mode: 0o600 });
  symlinkSync(join(folder, 'elsewhere'), journalPath);
  await assert.rejects(openJournal(journalPath), (error) => hasCode(error, 'JOURNAL_UNREADABLE'));
});

const restores: readonly [string, string, string, string | undefined, string][] = [
  ['shorter than what is there', '# cz made this file, and more', 'old\n', '# cz', 'old\n'],
  ['longer than what is there', '# cz', 'old and long\n', '# cz', 'old and long\n'],
  ['not ours any more', 'somebody else wrote this', 'old\n', '# cz', 'somebody else wrote this'],
  ['without a condition', 'anything', 'old\n', undefined, 'old\n'],
  ['empty before', '# cz', '', '# cz', ''],
];
for (const [what, now, before, marker, after] of restores) {
  test(`restoring a file in place: ${what}`, async () => {
    const path = join(folder, 'file');
    writeFileSync(path, now);
    const { ino } = statSync(path);
    const journal = await openJournal(journalPath);
    await journal.record('file', restoreOf(path, before, marker));
    assert.deepEqual((await journal.undoAll()).failed, []);
    await journal.close();
    assert.equal(textOf('file'), after);
    assert.equal(statSync(path).ino, ino);
    if (after === before) assert.equal(statSync(path).mode & 0o777, 0o640);
  });
}

test('a file that is gone is made again only where no condition is set', async () => {
  const journal = await openJournal(journalPath);
  await journal.record('with', restoreOf(join(folder, 'with'), 'x', '# cz'));
  await journal.record('without', restoreOf(join(folder, 'without'), 'x'));
  assert.deepEqual((await journal.undoAll()).failed, []);
  await journal.close();
  assert.ok(!existsSync(join(folder, 'with')));
  assert.equal(textOf('without'), 'x');
});

test('removing: only what starts with the marker, and fine when it is gone', async () => {
  writeFileSync(join(folder, 'ours'), '# cz 1');
  writeFileSync(join(folder, 'theirs'), 'x');
  const journal = await openJournal(journalPath);
  for (const file of ['ours', 'theirs', 'missing'])
    await journal.record(file, { kind: 'remove', path: join(folder, file), onlyIfStarts: '# cz' });
  await journal.record('missing too', { kind: 'remove', path: join(folder, 'missing') });
  assert.deepEqual((await journal.undoAll()).failed, []);
  await journal.close();
  assert.deepEqual(
    ['ours', 'theirs'].map((file) => existsSync(join(folder, file))),
    [false, true],
  );
});

test('a long life does not grow the file: done lines are written away', async () => {
  const journal = await openJournal(journalPath);
  await journal.record('kept', { kind: 'remove', path: join(folder, 'nothing') });
  for (let round = 0; round < 1500; round += 1)
    await (await journal.record('round', { kind: 'remove', path: join(folder, 'nothing') })).undo();
  const lines = textOf('journal').split('\n').length;
  assert.ok(lines < 1100, `${lines} lines`);
  assert.deepEqual(journal.pending(), ['kept']);
  await journal.undoAll();
  await journal.close();
});

test('after close nothing is recorded any more', async () => {
  const journal = await openJournal(journalPath);
  await journal.close();
  await journal.close();
  await assert.rejects(journal.record('a', { kind: 'run', argv: ['/bin/true'] }), (error) =>
    hasCode(error, 'JOURNAL_CLOSED'),
  );
});

test('an action that would not be read back is not recorded', async () => {
  const journal = await openJournal(journalPath);
  await assert.rejects(journal.record('a', { kind: 'remove', path: 'relative' }), (error) =>
    hasCode(error, 'MALFORMED'),
  );
  await journal.close();
});
