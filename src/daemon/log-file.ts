/**
 * Keeps the daemon's log bounded while it runs: the guard points stderr at the file (append mode), and what
 * outgrows the limit goes to `.1`. Both together stay under twice the limit plus a line.
 */
import { chmodSync, chownSync, copyFileSync, fstatSync, ftruncateSync, writeSync } from 'node:fs';

/** /run is memory: two files of this size at most (our choice). */
const LOG_LIMIT_BYTES = 4 * 1024 * 1024;

/**
 * Returns a writer of lines for `createLog` on this descriptor, which must be open for appending to `path`.
 * A log that cannot be written is no reason to fail: such lines are lost.
 */
export function createBoundedWriter(
  path: string,
  fd = 2,
  limitBytes = LOG_LIMIT_BYTES,
): (line: string) => void {
  let size: number | undefined;
  return (line) => {
    try {
      size ??= fstatSync(fd).size;
      if (size >= limitBytes) size = moveAway(path, fd);
      size += writeSync(fd, `${line}\n`);
    } catch {
      size = undefined;
    }
  };
}

function moveAway(path: string, fd: number): number {
  const { uid, gid } = fstatSync(fd);
  copyFileSync(path, `${path}.1`);
  chmodSync(`${path}.1`, 0o600);
  chownSync(`${path}.1`, uid, gid);
  ftruncateSync(fd, 0);
  return 0;
}
