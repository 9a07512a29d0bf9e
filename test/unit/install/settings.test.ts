/**
 * Settings of an install: what an upgrade keeps, what a choice changes, and that a foreign annotation does no harm.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  checkChoices,
  defaultSettings,
  formatSettings,
  mergeSettings,
  parseSettings,
  type Settings,
} from '../../../src/install/settings.js';
import { hasCode } from '../../../src/base/errors.js';

const chosen: Settings = {
  image: 'registry.example/team/manager:pinned',
  allowGroups: ['devs', 'oidc:ops team'],
  onlyNamespaces: ['shop'],
  alsoRoute: ['192.0.2.0/24'],
  nodeAddresses: true,
};

test('an upgrade keeps every setting that nobody chose anew', () => {
  assert.deepEqual(mergeSettings('2.0.0', {}, { version: '1.0.0', settings: chosen }), chosen);
});

const choices: [keyof Settings, Settings[keyof Settings]][] = [
  ['image', 'other:1'],
  ['allowGroups', []],
  ['onlyNamespaces', ['blog']],
  ['alsoRoute', []],
  ['nodeAddresses', false],
];
for (const [key, value] of choices) {
  test(`an upgrade that chooses ${key} changes it alone`, () => {
    const merged = mergeSettings('2.0.0', { [key]: value }, { version: '1.0.0', settings: chosen });
    assert.deepEqual(merged, { ...chosen, [key]: value });
  });
}

const images: [string, string][] = [
  ['cz-manager:1.0.0', 'cz-manager:2.0.0'],
  ['registry.example:5000/cz-manager:1.0.0', 'registry.example:5000/cz-manager:2.0.0'],
  ['registry.example:5000/cz-manager', 'registry.example:5000/cz-manager'],
  ['cz-manager@sha256:1.0.0', 'cz-manager@sha256:1.0.0'],
  ['cz-manager:11.0.0', 'cz-manager:11.0.0'],
];
for (const [before, after] of images) {
  test(`an upgrade from 1.0.0 to 2.0.0 makes "${after}" of image "${before}"`, () => {
    const former = { version: '1.0.0', settings: { ...chosen, image: before } };
    assert.equal(mergeSettings('2.0.0', {}, former).image, after);
  });
}

test('settings read back from their annotation', () => {
  assert.deepEqual(parseSettings(formatSettings(chosen), '2.0.0'), chosen);
});

test('an annotation of any content gives settings that are valid', () => {
  const content = fc.oneof(fc.string(), fc.json(), fc.record({ image: fc.anything() }).map(json));
  fc.assert(
    fc.property(content, (text) => {
      assert.doesNotThrow(() => checkChoices(parseSettings(text, '1.0.0')));
    }),
  );
  assert.deepEqual(parseSettings('{', '1.0.0'), defaultSettings('1.0.0'));
  assert.deepEqual(parseSettings(undefined, '1.0.0'), defaultSettings('1.0.0'));
});

const wrong: Partial<Settings>[] = [
  { image: 'with space' },
  { image: '' },
  { onlyNamespaces: ['Shop'] },
  { onlyNamespaces: ['a/b'] },
  { allowGroups: [''] },
  { allowGroups: ['a\nb'] },
  { alsoRoute: ['10.0.0.0/33'] },
  { alsoRoute: ['db.example'] },
];
for (const choice of wrong) {
  test(`the choice ${JSON.stringify(choice)} is refused as usage`, () => {
    assert.throws(
      () => checkChoices(choice),
      (error) => hasCode(error, 'USAGE'),
    );
  });
}

function json(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? String(item) : item));
}
