/**
 * Builds native/build/linux-ARCH/cz.node with the machine's C compiler against the npm package node-api-headers.
 * Nothing is fetched. Does nothing when neither sources nor flags nor compiler changed since the last build.
 * Run: `node native/build.mjs`.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
const output = join(here, 'build', `linux-${process.arch}`, 'cz.node');
const stamp = `${output}.stamp`;
const compiler = process.env.CC ?? 'cc';

const flags = `
  -std=gnu11 -O2 -g0 -fPIC -shared -pthread -fno-math-errno
  -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wvla
  -fvisibility=hidden -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
  -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed -Wl,--build-id=none -s`
  .trim()
  .split(/\s+/);

const sources = readdirSync(here)
  .filter((name) => /\.[ch]$/.test(name))
  .sort();
const fingerprint = fingerprintOf();

if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === fingerprint) {
  console.log(`native: ${output} is up to date`);
} else {
  compile();
  console.log(`native: built ${output}`);
}

function fingerprintOf() {
  const hash = createHash('sha256').update(JSON.stringify([flags, compilerVersion()]));
  for (const name of sources) hash.update(`\0${name}\0`).update(readFileSync(join(here, name)));
  return hash.digest('hex');
}

function compilerVersion() {
  try {
    return execFileSync(compiler, ['--version'], { encoding: 'utf8' });
  } catch (error) {
    console.error(`native: no C compiler "${compiler}": install gcc (Debian: apt install gcc libc6-dev)`);
    throw error;
  }
}

function compile() {
  mkdirSync(dirname(output), { recursive: true });
  const files = sources.filter((name) => name.endsWith('.c')).map((name) => join(here, name));
  const unfinished = `${output}.${process.pid}`;
  execFileSync(compiler, [...flags, `-I${headers}`, ...files, '-o', unfinished, '-lm'], { stdio: 'inherit' });
  renameSync(unfinished, output);
  writeFileSync(stamp, fingerprint);
}
