/** Files of the harness's own in the cluster's folder: JSON that only this room writes, so what is read is what was written. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { codeOf } from '../../../src/base/errors.js';

/** Writes a record so that it appears whole or not at all. */
export async function writeRecord(file: string, value: unknown): Promise<void> {
  const draft = `${file}.${process.pid}`;
  await writeFile(draft, JSON.stringify(value));
  await rename(draft, file);
}

/** Returns the record, which must have been written as a `T`, or undefined where there is no such file. */
export async function readRecord<T>(file: string): Promise<T | undefined> {
  try {
    const record: T = JSON.parse(await readFile(file, 'utf8'));
    return record;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
