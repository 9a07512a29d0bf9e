/**
 * Builds the bundles into dist/: cz.js (split, so that a command loads only what it needs) and daemon.js, undo.js,
 * manager.js, each one file that stands alone: they run on while the package beside them may be replaced. They lie
 * one level below the package's root, where base/addon.ts expects it. Run: `node scripts/build.mjs [FOLDER]`.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const outdir = resolve(process.argv[2] ?? `${root}dist`);
const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));

/** CommonJS packages inside an ES module ask for Node's own modules by `require`. */
const REQUIRE =
  'import{createRequire as czRequire}from"node:module";const require=czRequire(import.meta.url);';

const COMMON = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  keepNames: false,
  legalComments: 'none',
  platform: 'node',
  target: 'node20',
  format: 'esm',
  outdir,
  define: { CZ_VERSION: JSON.stringify(version) },
  // `ws` looks for these; without them it uses its own
  external: ['bufferutil', 'utf-8-validate'],
  // its ES module build: of a split CommonJS package, import() gives the default export alone
  alias: { yaml: './node_modules/yaml/browser/dist/index.js' },
  logLevel: 'warning',
};

/** Bundles that stand alone. */
const ALONE = {
  daemon: 'src/daemon/main.ts',
  undo: 'src/daemon/undo-main.ts',
  manager: 'src/manager/main.ts',
};

async function main() {
  const started = Date.now();
  mkdirSync(outdir, { recursive: true });
  const written = new Set();
  const results = [buildCommandLine()];
  for (const [name, entry] of Object.entries(ALONE)) results.push(buildAlone(name, entry));
  for (const { metafile } of await Promise.all(results))
    for (const file of Object.keys(metafile.outputs)) written.add(resolve(root, file));
  removeOthers(written);
  chmodSync(join(outdir, 'cz.js'), 0o755);
  console.log(`bundles: ${written.size} files in ${Date.now() - started} ms`);
}

function buildCommandLine() {
  return build({
    ...COMMON,
    entryPoints: { cz: 'src/cli/main.ts' },
    splitting: true,
    chunkNames: 'cz-[name]-[hash]',
    banner: { js: REQUIRE },
    metafile: true,
  });
}

function buildAlone(name, entry) {
  if (!existsSync(`${root}${entry}`)) throw new Error(`no source "${entry}"`);
  return build({ ...COMMON, entryPoints: { [name]: entry }, banner: { js: REQUIRE }, metafile: true });
}

/** Chunks of earlier builds, by name no longer written. */
function removeOthers(written) {
  for (const name of readdirSync(outdir))
    if (name.endsWith('.js') && !written.has(join(outdir, name))) rmSync(join(outdir, name));
}

await main();
