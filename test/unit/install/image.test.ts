/**
 * The manager's image: the same input gives the same digests, and nothing is in it but what the manager needs.
 */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { hasCode } from '../../../src/base/errors.js';
import { writeImage, type ImageEntry } from '../../../agent-image/archive.js';
import { IMAGE_CONFIG, imageEntries, importsOf } from '../../../agent-image/contents.js';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const addon = `native/build/linux-${process.arch}`;
let root = '';

before(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'cz-image-'));
  await mkdir(path.join(root, 'dist'), { recursive: true });
  await mkdir(path.join(root, addon), { recursive: true });
  await writeFile(path.join(root, 'dist/manager.js'), 'import{a}from"./chunk-A.js";import("./chunk-B.js");');
  await writeFile(path.join(root, 'dist/chunk-A.js'), 'import "./chunk-C.js";export const a=1');
  await writeFile(path.join(root, 'dist/chunk-B.js'), 'export{c}from"./chunk-C.js"');
  await writeFile(path.join(root, 'dist/chunk-C.js'), 'export const c=1');
  await writeFile(path.join(root, 'dist/cz.js'), 'the laptop has this one');
  await writeFile(path.join(root, addon, 'cz.node'), 'addon');
});

after(() => rm(root, { recursive: true }));

function entries(): Promise<ImageEntry[]> {
  return imageEntries({ root, node: '/usr/sbin/ip' });
}

test('the same input gives the same bytes, at another time and under another name', async () => {
  const write = async (name: string) => {
    const output = path.join(root, name);
    const made = await writeImage({
      entries: await entries(),
      config: IMAGE_CONFIG,
      tags: ['cz-manager:1'],
      output,
    });
    return { ...made, archive: await readFile(output) };
  };
  const [first, second] = [await write('one.tar'), await write('two.tar')];
  assert.equal(first.id, second.id);
  assert.equal(first.layer, second.layer);
  assert.ok(first.archive.equals(second.archive));
  assert.ok(first.bytes > 1000);
});

test('the image holds no shell, and of the bundles just the manager’s', async () => {
  const paths = (await entries()).map((entry) => entry.path);
  const dist = paths.filter((name) => name.startsWith('/opt/cz/dist/')).sort();
  assert.deepEqual(
    dist,
    ['chunk-A.js', 'chunk-B.js', 'chunk-C.js', 'manager.js'].map((n) => `/opt/cz/dist/${n}`),
  );
  const programs = paths.filter((name) => /^\/(usr\/)?s?bin\//.test(name));
  assert.deepEqual(programs.sort(), ['/usr/bin/node', '/usr/sbin/ip', '/usr/sbin/nft']);
});

test('programs bring their libraries and their loader', async () => {
  const paths = (await entries()).map((entry) => entry.path);
  for (const library of [/\/libc\.so\.6$/, /\/ld-linux[^/]*\.so\.\d$/, /\/libnftables\.so\.1$/])
    assert.ok(
      paths.some((name) => library.test(name)),
      String(library),
    );
  assert.equal(new Set(paths).size, paths.length);
});

test('imports of a minified bundle are found, and of packages and text are not', () => {
  const source =
    'import{x}from"./a.js";import"../b.js";export*from\'./c.js\';await import("./d.js");import"node:fs"';
  assert.deepEqual(importsOf(source, 'sub/manager.js'), ['sub/a.js', 'b.js', 'sub/c.js', 'sub/d.js']);
});

test('what is not built is named, with the command that builds it', async () => {
  const missing = imageEntries({ root: path.join(root, 'none'), node: '/usr/sbin/ip' });
  await assert.rejects(missing, (error) => hasCode(error, 'IMAGE_SOURCE'));
});

test('the Dockerfile starts the image as the archive does', async () => {
  const file = await readFile(path.join(repository, 'agent-image/Dockerfile'), 'utf8');
  assert.ok(file.includes(`ENTRYPOINT ${JSON.stringify(IMAGE_CONFIG.Entrypoint).replaceAll(',', ', ')}`));
  for (const variable of IMAGE_CONFIG.Env ?? []) assert.ok(file.includes(variable), variable);
  assert.ok(file.includes(`USER ${IMAGE_CONFIG.User}`));
});
