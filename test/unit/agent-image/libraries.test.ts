/** What a program is linked with, out of ldd's words and from a real program. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { libraryEntries, parseLdd, programEntries } from '../../../agent-image/libraries.js';

test("ldd's lines give the libraries' and the loader's paths, and nothing for what the kernel brings", () => {
  const text = `\tlinux-vdso.so.1 (0x00007ffd0a5f2000)
\tlibnftables.so.1 => /lib/x86_64-linux-gnu/libnftables.so.1 (0x00007f1a5c000000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1a5be1f000)
\tlibgone.so.1 => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f1a5c0f2000)
`;
  assert.deepEqual(parseLdd(text), [
    '/lib/x86_64-linux-gnu/libnftables.so.1',
    '/lib/x86_64-linux-gnu/libc.so.6',
    '/lib64/ld-linux-x86-64.so.2',
  ]);
});

test('a program comes with its loader and C library; two programs share them', async () => {
  const paths = (await programEntries([{ source: '/bin/sh' }, { source: '/bin/ls', path: '/bin/list' }])).map(
    (entry) => entry.path,
  );
  assert.ok(paths.includes('/bin/sh') && paths.includes('/bin/list') && !paths.includes('/bin/ls'));
  assert.ok(paths.some((one) => one.endsWith('/libc.so.6')) && paths.some((one) => /\/ld-linux/.test(one)));
  assert.equal(new Set(paths).size, paths.length);
});

test('a file that is not linked at all needs nothing', async () => {
  assert.deepEqual(await libraryEntries([import.meta.filename]), []);
});
