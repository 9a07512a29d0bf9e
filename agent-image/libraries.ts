/**
 * What a program of this machine needs beside itself in an image: its shared libraries and its loader, as ldd(1) names
 * them. ldd runs the program's loader: only for programs that are trusted.
 */
import { realpath } from 'node:fs/promises';
import { exec } from '../src/base/exec.js';
import type { ImageEntry } from './archive.js';

/** A program of this machine, and where it goes in the image (default: the same path). */
export interface ImageProgram {
  readonly source: string;
  readonly path?: string;
}

/** Returns the entries for the programs and, each once, for all that they are linked with, at the paths their loader looks at. */
export async function programEntries(programs: readonly ImageProgram[]): Promise<ImageEntry[]> {
  const libraries = await libraryEntries(programs.map((program) => program.source));
  const own = await Promise.all(
    programs.map(async ({ source, path = source }) => ({
      path,
      source: await realpath(source),
      mode: 0o755,
    })),
  );
  return [...own, ...libraries];
}

/** Returns the entries for all shared objects that the files (programs or libraries) are linked with, each once. */
export async function libraryEntries(files: readonly string[]): Promise<ImageEntry[]> {
  const linked = await Promise.all(files.map(linkedWith));
  const paths = [...new Set(linked.flat())].sort();
  return Promise.all(paths.map(async (path) => ({ path, source: await realpath(path), mode: 0o755 })));
}

/** A static program makes ldd exit with 1 ("not a dynamic executable"). */
async function linkedWith(file: string): Promise<string[]> {
  const { stdout } = await exec(['ldd', file], { okCodes: [0, 1] });
  return parseLdd(stdout);
}

/** Returns the absolute paths in ldd's output: `name => /path (0x…)` and the loader's bare `/path (0x…)`. */
export function parseLdd(text: string): string[] {
  const lines = text.split('\n').map((line) => /^\s*(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/.exec(line)?.[1]);
  return lines.filter((path) => path !== undefined);
}
