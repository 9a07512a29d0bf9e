/**
 * `npm run image -- --output FILE.tar [--tag REF] [--node PROGRAM]`: writes the manager's image as a docker-archive,
 * without Docker and without a registry, and prints what it made as one line of JSON.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CzError, exitCodeOf } from '../src/base/errors.js';
import { VERSION } from '../src/base/version.js';
import { writeImage } from './archive.js';
import { IMAGE_CONFIG, imageEntries } from './contents.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const USAGE = 'npm run image -- --output FILE.tar [--tag REFERENCE] [--node PROGRAM]';

try {
  const { output, tag, node } = readOptions();
  const entries = await imageEntries({ root, node });
  const image = await writeImage({ entries, config: IMAGE_CONFIG, tags: [tag], output });
  console.log(JSON.stringify({ output, tag, ...image }));
} catch (error) {
  fail(error);
}

function readOptions(): { output: string; tag: string; node: string } {
  const { values } = parseOptions();
  if (values.output === undefined) throw new CzError('USAGE', 'no --output', { hint: USAGE });
  return {
    output: path.resolve(values.output),
    tag: values.tag ?? `cz-manager:${VERSION}`,
    node: path.resolve(root, values.node ?? `agent-image/node_modules/node-linux-${process.arch}/bin/node`),
  };
}

function parseOptions() {
  const option = { type: 'string' } as const;
  try {
    return parseArgs({ options: { output: option, tag: option, node: option } });
  } catch (cause) {
    throw new CzError('USAGE', cause instanceof Error ? cause.message : 'unknown option', {
      hint: USAGE,
      cause,
    });
  }
}

function fail(error: unknown): void {
  if (!(error instanceof CzError)) throw error;
  console.error(`error: ${error.message}`);
  if (error.hint !== undefined) console.error(`hint: ${error.hint}`);
  process.exitCode = exitCodeOf(error.code);
}
