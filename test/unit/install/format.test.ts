/**
 * The YAML writer: whatever JSON goes in, any YAML reader gets the same out, with reasons as comments.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parse } from 'yaml';
import { formatManifests } from '../../../src/install/format.js';
import { because, explain } from '../../../src/install/reasons.js';

test('any JSON object reads back the same', () => {
  const keys = fc.string({ maxLength: 12 }).filter((key) => key !== '__proto__');
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.string(),
      fc.constantFrom('yes', 'null', '1e3', '0x1', '-', '#x', 'a: b', 'a #b', ' a', '2026-01-01', '', '"'),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('tree'), { maxLength: 4 }),
      fc.dictionary(keys, tie('tree'), { maxKeys: 4, noNullPrototype: true }),
    ),
  }));
  fc.assert(
    fc.property(fc.dictionary(keys, tree, { maxKeys: 4, minKeys: 1, noNullPrototype: true }), (object) => {
      assert.deepEqual(parse(formatManifests([object])), object);
    }),
  );
});

test('reasons stand above what they explain', () => {
  const object = because('all of it', {
    a: explain({ b: 1, c: ['x', 'y'] }, { b: 'why b' }),
    list: [because('the first', { k: 'v', l: 2 }), { k: 'w' }],
    items: explain(['x', 'y'], { 1: 'why y' }),
  });
  assert.equal(
    formatManifests([object]),
    [
      '---',
      '# all of it',
      'a:',
      '  # why b',
      '  b: 1',
      '  c:',
      '  - x',
      '  - "y"',
      'list:',
      '# the first',
      '- k: v',
      '  l: 2',
      '- k: w',
      'items:',
      '- x',
      '# why y',
      '- "y"',
      '',
    ].join('\n'),
  );
});

test('a long reason is wrapped and stays a comment', () => {
  const text = formatManifests([because('word '.repeat(60).trim(), { a: 1 })]);
  const rows = text.trimEnd().split('\n').slice(1, -1);
  assert.ok(rows.length > 1);
  for (const row of rows) assert.match(row, /^# .{1,110}$/);
});

test('what is undefined is left out', () => {
  assert.equal(formatManifests([{ a: undefined, b: {}, c: [] }]), '---\nb: {}\nc: []\n');
});
