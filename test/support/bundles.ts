/**
 * The bundles, built once per test process into a folder of their own that looks like the package: `dist/` beside a
 * link to `native/`.
 */
import { chmodSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exec } from '../../src/base/exec.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Bundles {
  /** The folder of the package. */
  readonly folder: string;
  /** Absolute path of the program. */
  readonly cz: string;
  readonly daemon: string;
  readonly undo: string;
  remove(): void;
}

/** Builds; other users may read the result. */
export async function buildBundles(): Promise<Bundles> {
  const folder = mkdtempSync(join(tmpdir(), 'cz-bundles-'));
  chmodSync(folder, 0o755);
  symlinkSync(join(root, 'native'), join(folder, 'native'));
  const dist = join(folder, 'dist');
  await exec([process.execPath, join(root, 'scripts/build.mjs'), dist], { timeoutMs: 60_000 });
  return {
    folder,
    cz: join(dist, 'cz.js'),
    daemon: join(dist, 'daemon.js'),
    undo: join(dist, 'undo.js'),
    remove: () => rmSync(folder, { recursive: true }),
  };
}
