/**
 * Holds the import table: which room may import which, and that each npm package has one importing file.
 * The same table stands in ARCHITECTURE.md; this test reads it there, so that the page cannot drift.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const source = join(root, 'src');

interface Import {
  readonly file: string;
  readonly target: string;
}

test('each room imports only what the table in ARCHITECTURE.md allows', () => {
  const table = readTable();
  const wrong = imports()
    .filter(({ target }) => target.startsWith('.'))
    .map(({ file, target }) => ({ file, from: roomOf(file), to: roomOf(resolve(dirname(file), target)) }))
    .filter(({ from, to }) => from !== to && !(table.get(from)?.includes(to) ?? false))
    .map(({ file, to }) => `${relative(root, file)} imports ${to}`);
  assert.deepEqual(wrong, []);
});

test('each npm package is imported by one file', () => {
  const importers = new Map<string, Set<string>>();
  for (const { file, target } of imports()) {
    if (target.startsWith('.') || target.startsWith('node:')) continue;
    const name = target
      .split('/')
      .slice(0, target.startsWith('@') ? 2 : 1)
      .join('/');
    importers.set(name, (importers.get(name) ?? new Set()).add(relative(root, file)));
  }
  const shared = [...importers]
    .filter(([, files]) => files.size > 1)
    .map(([name, files]) => [name, [...files]]);
  assert.deepEqual(shared, []);
});

test('child processes are started in base/exec.ts alone', () => {
  const files = imports()
    .filter(({ target }) => target === 'node:child_process')
    .map(({ file }) => relative(root, file));
  assert.deepEqual(files, ['src/base/exec.ts']);
});

function readTable(): Map<string, string[]> {
  const page = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `([a-z]+)\/` \| [^|]* \| ([^|]*) \|$/gm)];
  assert.ok(rows.length > 8, 'the import table is in ARCHITECTURE.md');
  return new Map(
    rows.map(([, room = '', allowed = '']) => [
      room,
      [...allowed.matchAll(/`([a-z]+)`/g)].map(([, name = '']) => name),
    ]),
  );
}

/** Imports of values; type-only imports leave nothing in the program. */
function imports(): Import[] {
  return readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => importsOf(join(source, name)));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  const statements = /^(?:import|export)\s+(?!type\b)(?:[^'";]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/gm;
  return [...text.matchAll(statements)].map((match) => ({ file, target: match[1] ?? match[2] ?? '' }));
}

function roomOf(path: string): string {
  return relative(source, path).split('/')[0] ?? '';
}
