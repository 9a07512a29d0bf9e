/**
 * The manager on the cluster under test: its image (made here, loaded into the nodes; on a foreign cluster the one that
 * CZ_TEST_IMAGE names), and the command line as a user of the laptop runs it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeImage } from '../../agent-image/archive.js';
import { IMAGE_CONFIG, imageEntries } from '../../agent-image/contents.js';
import { VERSION } from '../../src/base/version.js';
import type { Cluster, SuiteLaptop } from '../cluster/harness/cluster.js';

/** The repository's folder. */
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The built command line; CZ_TEST_PROGRAM names another one. */
export const CZ = process.env['CZ_TEST_PROGRAM'] || path.join(ROOT, 'dist/cz.js');

/** What a run of cz gave. */
export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the built `cz` on the laptop as root and returns what it gave, failed or not. */
export async function cz(laptop: SuiteLaptop, kubeconfig: string, ...args: string[]): Promise<Outcome> {
  const argv = [process.execPath, CZ, ...args, '--kubeconfig', kubeconfig];
  return laptop.run(argv, { okCodes: Array.from({ length: 256 }, (_, code) => code), timeoutMs: 180_000 });
}

/** Makes the image of this source and loads it into the nodes; returns its reference. */
export async function loadManagerImage(cluster: Cluster): Promise<string> {
  const named = process.env['CZ_TEST_IMAGE'];
  if (named !== undefined && named !== '') return named;
  const node = path.join(ROOT, `agent-image/node_modules/node-linux-${process.arch}/bin/node`);
  const reference = `cz-manager:${VERSION}`;
  await loadImage(cluster, {
    entries: await imageEntries({ root: ROOT, node }),
    config: IMAGE_CONFIG,
    tags: [reference],
  });
  return reference;
}

/** Writes an image and loads it into the nodes. */
export async function loadImage(
  cluster: Cluster,
  image: Omit<Parameters<typeof writeImage>[0], 'output'>,
): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cz-image-'));
  try {
    const output = path.join(folder, 'image.tar');
    await writeImage({ ...image, output });
    await cluster.load(output);
  } finally {
    await rm(folder, { recursive: true });
  }
}
