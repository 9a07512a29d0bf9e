/**
 * Small readers and writers: paths, lines, YAML.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { createLineCutter } from '../../../src/kube/lines.js';
import { apiPath, withQuery } from '../../../src/kube/path.js';
import { formatYaml, parseYaml } from '../../../src/kube/yaml.js';

test('any name becomes exactly one segment of a path, and the path a valid one', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), (name) => {
      fc.pre(name !== '.' && name !== '..');
      const path = withQuery(apiPath`/api/v1/namespaces/${name}/pods`);
      const segments = new URL(path, 'https://x').pathname.split('/');
      assert.equal(segments.length, 6);
      assert.equal(decodeURIComponent(segments[4] ?? ''), name);
    }),
  );
});

test('lines come out the same however the bytes are cut, and none is longer than the limit', () => {
  const lines = fc.array(
    fc.string({ unit: 'grapheme', minLength: 1 }).map((line) => `{${line.replace(/\s/g, '')}}`),
  );
  fc.assert(
    fc.property(lines, fc.array(fc.nat(20)), (wanted, cuts) => {
      const bytes = Buffer.from(wanted.map((line) => `${line}\n`).join(''));
      const cut = createLineCutter();
      const found: string[] = [];
      let at = 0;
      for (const size of [...cuts, bytes.length]) {
        found.push(...cut(bytes.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(found, wanted);
    }),
  );
});

test('a line beyond the limit is refused, also when its end never comes', () => {
  assert.throws(() => createLineCutter(10)(Buffer.from('12345678901\n')), { code: 'LINE_TOO_LONG' });
  const cut = createLineCutter(10);
  cut(Buffer.from('1234567890'));
  assert.throws(() => cut(Buffer.from('1')), { code: 'LINE_TOO_LONG' });
});

test('YAML is written with comments above what they speak of, and reads back the same', async () => {
  const value = {
    kind: 'Role',
    rules: [{ verbs: ['get'], apiGroups: [''] }, { verbs: ['list'] }],
    s: 'a: b #c',
  };
  const reasons = new Map([
    ['kind', 'top'],
    ['rules.1', 'why\nso'],
    ['rules.0.verbs', 'inner'],
  ]);
  const text = await formatYaml(value, (path) => reasons.get(path.join('.')));
  assert.match(text, /^# top\nkind: Role\n/);
  assert.match(text, / {2}# why\n {2}# so\n {2}- verbs:/);
  assert.match(text, /# inner\n {4}verbs:/);
  assert.deepEqual(await parseYaml(text), value);
});

test('bad YAML is YAML_INVALID with its line', async () => {
  await assert.rejects(parseYaml('a: 1\nb: [1\n'), { code: 'YAML_INVALID', message: /^line \d+: / });
});
