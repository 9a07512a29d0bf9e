/** The image archive: reproducible, readable by tar(1), with the digests that it claims, and strict about paths. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { writeImage, type ImageEntry, type ImageOutput } from '../../../agent-image/archive.js';

let folder = '';

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'cz-archive-'));
  await writeFile(path.join(folder, 'program'), 'x'.repeat(5000));
  await symlink('program', path.join(folder, 'alias'));
});

after(() => rm(folder, { recursive: true }));

function entries(): ImageEntry[] {
  return [
    { path: '/usr/bin/program', source: path.join(folder, 'alias'), mode: 0o755 },
    { path: '/etc/name', content: 'cz\n' },
    { path: '/bin/sh', link: '../usr/bin/program' },
    { path: '/tmp', folder: true, mode: 0o1777 },
  ];
}

async function write(name: string, content: readonly ImageEntry[]): Promise<ImageOutput> {
  return writeImage({
    entries: content,
    config: { Entrypoint: ['/usr/bin/program'], User: '0' },
    tags: ['cz.test/a:1', 'cz.test/b:2'],
    output: path.join(folder, name),
    architecture: 'amd64',
  });
}

function tar(args: readonly string[]): Buffer {
  return execFileSync('tar', args);
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

test('the same input gives the same bytes, whatever the order and the times of the files', async () => {
  const first = await write('one.tar', entries());
  await utimes(path.join(folder, 'program'), 1, 1);
  const second = await write('two.tar', entries().reverse());
  assert.deepEqual(second, first);
  const [one, two] = await Promise.all(
    ['one.tar', 'two.tar'].map((name) => readFile(path.join(folder, name))),
  );
  assert.ok(one !== undefined && two !== undefined && one.equals(two));
  assert.equal(one.length, first.bytes);
});

test('another byte, mode or tag gives another image', async () => {
  const first = await write('one.tar', entries());
  const other = entries().map((entry) => ('content' in entry ? { ...entry, content: 'cz!' } : entry));
  assert.notEqual((await write('two.tar', other)).layer, first.layer);
  const mode = entries().map((entry) => ('content' in entry ? { ...entry, mode: 0o600 } : entry));
  assert.notEqual((await write('two.tar', mode)).layer, first.layer);
});

test('tar reads the layer: folders before what is in them, owner 0, time 0, modes and links as asked', async () => {
  await write('one.tar', entries());
  const layer = path.join(folder, 'layer.tar');
  await writeFile(layer, tar(['-xOf', path.join(folder, 'one.tar'), 'layer.tar']));
  const listed = tar(['--numeric-owner', '--utc', '-tvf', layer]).toString().trim().split('\n');
  assert.deepEqual(
    listed.map((line) => line.replace(/ +/g, ' ')),
    [
      'drwxr-xr-x 0/0 0 1970-01-01 00:00 bin/',
      'lrwxrwxrwx 0/0 0 1970-01-01 00:00 bin/sh -> ../usr/bin/program',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/',
      '-rw-r--r-- 0/0 3 1970-01-01 00:00 etc/name',
      'drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/bin/',
      '-rwxr-xr-x 0/0 5000 1970-01-01 00:00 usr/bin/program',
    ],
  );
  assert.equal(tar(['-xOf', layer, 'usr/bin/program']).toString(), 'x'.repeat(5000));
});

test('the manifest names the tags and a configuration whose digests are those of the bytes', async () => {
  const written = await write('one.tar', entries());
  const member = (name: string) => tar(['-xOf', path.join(folder, 'one.tar'), name]);
  const [manifest] = JSON.parse(member('manifest.json').toString());
  assert.deepEqual(manifest.RepoTags, ['cz.test/a:1', 'cz.test/b:2']);
  const config = member(manifest.Config);
  assert.equal(sha256(config), written.id);
  const parsed = JSON.parse(config.toString());
  assert.deepEqual(parsed.config, { Entrypoint: ['/usr/bin/program'], User: '0' });
  assert.deepEqual(parsed.rootfs, { type: 'layers', diff_ids: [written.layer] });
  assert.equal(sha256(member(manifest.Layers[0])), written.layer);
});

test('a path of more than 100 bytes is split, one that cannot be is refused', async () => {
  const long = `/${'d'.repeat(90)}/${'f'.repeat(90)}`;
  await write('long.tar', [{ path: long, content: 'here' }]);
  const layer = path.join(folder, 'long-layer.tar');
  await writeFile(layer, tar(['-xOf', path.join(folder, 'long.tar'), 'layer.tar']));
  assert.equal(tar(['-xOf', layer, long.slice(1)]).toString(), 'here');
  await assert.rejects(write('no.tar', [{ path: `/${'f'.repeat(120)}`, content: '' }]), {
    code: 'IMAGE_PATH',
  });
});

for (const [what, bad] of [
  ['a relative path', [{ path: 'etc/name', content: '' }]],
  ['a path with ..', [{ path: '/etc/../name', content: '' }]],
  ['the root', [{ path: '/', folder: true }]],
  [
    'a path twice',
    [
      { path: '/a', content: '1' },
      { path: '//a', content: '2' },
    ],
  ],
] as const) {
  test(`${what} is refused, and no file is left`, async () => {
    await assert.rejects(write('bad.tar', bad), { code: 'IMAGE_PATH' });
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith('bad')),
      [],
    );
  });
}

test('a source that is not there is an error, and the former archive stays', async () => {
  await write('kept.tar', entries());
  const before = await readFile(path.join(folder, 'kept.tar'));
  await assert.rejects(write('kept.tar', [{ path: '/a', source: path.join(folder, 'nothing') }]), {
    code: 'ENOENT',
  });
  assert.ok(before.equals(await readFile(path.join(folder, 'kept.tar'))));
});
