/**
 * Runs inside a mount namespace of its own (undo-mount.test.ts): mounts files over files, lets the journal take
 * them off, and prints what is seen at each path.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exec } from '../../src/base/exec.js';
import { openJournal, replayJournal } from '../../src/base/undo.js';

const MARKER = '# cz:';
const folder = mkdtempSync(join(tmpdir(), 'cz mount-'));
const at = (name: string) => join(folder, name);
const seen = (name: string) => readFileSync(at(name), 'utf8');

async function mountOver(source: string, target: string): Promise<void> {
  await exec(['mount', '--bind', at(source), at(target)]);
}

writeFileSync(at('ours'), '# cz: ours\n');
writeFileSync(at('other'), 'theirs, mounted\n');
writeFileSync(at('unmounted'), '# cz: ours, but a plain file\n');
for (const name of ['once', 'twice', 'theirs']) writeFileSync(at(name), 'before\n');

const journal = await openJournal(at('journal'));
for (const name of ['once', 'twice', 'theirs'])
  await journal.record(name, { kind: 'unmount', path: at(name), marker: MARKER });
await mountOver('ours', 'once');
await mountOver('ours', 'twice');
await mountOver('ours', 'twice');
await mountOver('other', 'theirs');
const mounted = seen('once');
await journal.close();

const report = await replayJournal(at('journal'));
const after = Object.fromEntries(['once', 'twice', 'theirs', 'unmounted'].map((name) => [name, seen(name)]));
console.log(JSON.stringify({ mounted, report, ...after }));
await exec(['umount', at('theirs')]);
rmSync(folder, { recursive: true });
