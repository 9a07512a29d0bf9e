/**
 * Cuts a byte stream into lines, bounded. Used for the events of a watch, one JSON object a line.
 */
import { CzError } from '../base/errors.js';

/** A line longer than this ends the stream (our choice: etcd takes objects of 1.5 MiB by default). */
const LINE_LIMIT_BYTES = 16 * 1024 * 1024;

/** Returns a function that takes chunks and returns the lines completed by each. @throws LINE_TOO_LONG */
export function createLineCutter(limitBytes = LINE_LIMIT_BYTES): (chunk: Buffer) => string[] {
  let kept: Buffer[] = [];
  let size = 0;
  return (chunk) => {
    const lines: string[] = [];
    let from = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      size += end - from;
      if (size > limitBytes) throw tooLong(limitBytes);
      kept.push(chunk.subarray(from, end));
      const line = Buffer.concat(kept).toString('utf8').trim();
      if (line !== '') lines.push(line);
      [kept, size, from] = [[], 0, end + 1];
    }
    size += chunk.length - from;
    if (size > limitBytes) throw tooLong(limitBytes);
    if (from < chunk.length) kept.push(Buffer.from(chunk.subarray(from)));
    return lines;
  };
}

function tooLong(limitBytes: number): CzError {
  return new CzError('LINE_TOO_LONG', `a line of more than ${limitBytes} bytes`);
}
