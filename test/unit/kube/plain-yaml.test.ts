/**
 * The plain YAML reader against the real parser: the same value, or it gives up.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parsePlainYaml } from '../../../src/kube/plain-yaml.js';
import { formatYaml, parseAnyYaml } from '../../../src/kube/yaml.js';

const KUBECTL = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: LS0tLS1CRUdJTg==
    insecure-skip-tls-verify: true
    server: https://127.0.0.1:6443
  name: kind-dev
contexts:
  # by hand
  - context: {}
    name: "kind dev"
current-context: 'kind-dev'
kind: Config
preferences: {}
users:
- name: kind-dev
  user:
    exec:
      args:
      - eks
      - get-token
      env: null
      command: aws
`;

test('a kubeconfig as kubectl writes it is read, and as the real parser reads it', async () => {
  const value = parsePlainYaml(KUBECTL);
  assert.notEqual(value, undefined);
  assert.deepEqual(value, await parseAnyYaml(KUBECTL));
});

const GIVEN_UP: readonly string[] = [
  '',
  'just text',
  '{a: b}',
  '---\na: b',
  'a: b # c',
  'a: |\n  b',
  'a: &x b',
  'a: 1',
  'a: 2020-01-01',
  'a: yes',
  'yes: a',
  'a: b: c',
  'a: b:',
  'a: b\n  c',
  'a: b\n  c: d',
  'a: b\na: c',
  'a:b',
  '"a": b',
  "a: 'it''s'",
  'a: "\\n"',
  'a: [b]',
  '- - a',
  '-\n  a: b',
  'a:\n\tb: c',
  'a: ä',
  '  a: b\nc: d',
  'a:\n    b: c\n  d: e',
  '- a\nb: c',
];

for (const text of GIVEN_UP) {
  test(`${JSON.stringify(text)} is left to the real parser`, () => {
    assert.equal(parsePlainYaml(text), undefined);
  });
}

const word = fc.constantFrom(
  'a',
  'b',
  'name',
  'true',
  'null',
  'yes',
  '{}',
  '[]',
  '""',
  '"x y"',
  "'z'",
  'x:y',
  '/p',
  'c:',
  '1',
  '~',
  'https://h:1/x',
  '#c',
  '- a',
  '-',
  'a#b',
  'a b',
  '|',
  '- b: c',
);
const line = fc
  .tuple(
    fc.constantFrom(0, 0, 1, 2, 2, 4),
    fc.constantFrom('', '- ', '-   '),
    fc.constantFrom('a', 'b', 'c', 'name', 'x-y.z/w', 'null'),
    fc.constantFrom(':', ': ', ':', ' '),
    fc.option(word, { nil: '' }),
  )
  .map(([indent, dash, key, colon, value]) => `${' '.repeat(indent)}${dash}${key}${colon}${value}`);
const loose = fc
  .tuple(fc.constantFrom(0, 1, 2), word)
  .map(([indent, value]) => `${' '.repeat(indent)}${value}`);

test('whatever it does not give up is what the real parser reads', async () => {
  let read = 0;
  const lines = fc.array(fc.oneof({ weight: 5, arbitrary: line }, loose, fc.constant('')), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(lines, async (parts) => {
      const text = parts.join('\n');
      const value = parsePlainYaml(text);
      if (value === undefined) return;
      read += 1;
      assert.deepEqual(value, await parseAnyYaml(text));
    }),
    { numRuns: 20_000 },
  );
  assert.ok(read > 100, `only ${read} were plain`);
});

const plainText = fc
  .stringMatching(/^[a-z/][A-Za-z0-9=+/_.-]{0,40}[A-Za-z0-9=]$/)
  .filter((text) => !/^(?:true|false|null|yes|no|on|off)$/i.test(text));
const plainKey = fc
  .stringMatching(/^[a-z][a-z-]{2,20}[a-z]$/)
  .filter((key) => !/^(?:true|false|null)$/i.test(key));
const { value: plainValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(plainText, fc.boolean(), fc.constant(null)),
    fc.dictionary(plainKey, tie('value'), { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
    fc.array(fc.dictionary(plainKey, tie('value'), { minKeys: 1, maxKeys: 3, noNullPrototype: true }), {
      maxLength: 3,
    }),
  ),
}));

test('what a writer of plain YAML writes is read without the real parser', async () => {
  const documents = fc.dictionary(plainKey, plainValue, { minKeys: 1, maxKeys: 5, noNullPrototype: true });
  await fc.assert(
    fc.asyncProperty(documents, async (value) => {
      assert.deepEqual(parsePlainYaml(await formatYaml(value)), value);
    }),
    { numRuns: 500 },
  );
});
