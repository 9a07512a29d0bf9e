/**
 * What is in the manager's image: Node, the bundled manager, the addon, `ip` and `nft`, their libraries, and the empty
 * folders that runtimes mount on. No shell, no package manager. Both ways of building (docker-archive, Dockerfile) use
 * this one list.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { CzError } from '../src/base/errors.js';
import type { ImageConfig, ImageEntry } from './archive.js';
import { libraryEntries } from './libraries.js';

/** Where the package lies in the image; inside it as in the repository, so that the bundle finds the addon. */
const HOME = '/opt/cz';
/** Debian puts administrators' programs into either. */
const PROGRAM_FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

export interface ImageSources {
  /** The repository's folder, with `dist/` and `native/build/`. */
  readonly root: string;
  /** The Node binary to put in. */
  readonly node: string;
}

/** How a container of the image starts. */
export const IMAGE_CONFIG: ImageConfig = {
  Entrypoint: ['/usr/bin/node', `${HOME}/dist/manager.js`],
  Env: ['PATH=/usr/sbin:/usr/bin', 'NODE_ENV=production'],
  ExposedPorts: { '443/tcp': {} },
  StopSignal: 'SIGTERM',
  User: '0:0',
  WorkingDir: '/',
};

/** Returns the entries of the image. @throws IMAGE_SOURCE something is not built, or not installed here */
export async function imageEntries(sources: ImageSources): Promise<ImageEntry[]> {
  const { root, node } = sources;
  const addon = `native/build/linux-${process.arch}/cz.node`;
  const [ip, nft] = [findProgram('ip', 'iproute2'), findProgram('nft', 'nftables')];
  const addonFile = present(path.join(root, addon), 'npm run build:native');
  const nodeFile = present(node, 'npm ci');
  return [
    { path: '/usr/bin/node', source: nodeFile, mode: 0o755 },
    { path: '/usr/sbin/ip', source: ip, mode: 0o755 },
    { path: '/usr/sbin/nft', source: nft, mode: 0o755 },
    ...(await libraryEntries([nodeFile, ip, nft, addonFile])),
    { path: `${HOME}/${addon}`, source: addonFile, mode: 0o755 },
    { path: `${HOME}/package.json`, content: '{"type":"module"}\n' },
    ...(await bundleEntries(root)),
    ...folders(),
  ];
}

function folders(): ImageEntry[] {
  const mounted = ['/dev', '/etc', '/proc', '/run', '/sys'].map((name) => ({
    path: name,
    folder: true as const,
  }));
  return [...mounted, { path: '/tmp', folder: true, mode: 0o1777 }];
}

/** The manager's bundle is its entry and the chunks that it imports, directly or not. */
async function bundleEntries(root: string): Promise<ImageEntry[]> {
  const dist = path.join(root, 'dist');
  const files = ['manager.js'];
  for (const file of files) {
    const source = await readFile(present(path.join(dist, file), 'npm run build'), 'utf8');
    for (const next of importsOf(source, file)) if (!files.includes(next)) files.push(next);
  }
  return files.map((file) => ({ path: `${HOME}/dist/${file}`, source: path.join(dist, file) }));
}

/** Returns the files, relative to dist/, that a bundled file imports. */
export function importsOf(source: string, file: string): string[] {
  const imports = /(?:\bfrom\s*|\bimport\s*\(?\s*)["'](\.{1,2}\/[^"'\n]+\.js)["']/g;
  return [...source.matchAll(imports)].map(([, target = '']) =>
    path.posix.join(path.posix.dirname(file), target),
  );
}

function findProgram(name: string, debianPackage: string): string {
  const found = PROGRAM_FOLDERS.map((folder) => `${folder}/${name}`).find((file) => existsSync(file));
  if (found !== undefined) return found;
  throw new CzError('IMAGE_SOURCE', `the program "${name}" is not installed here`, {
    hint: `apt-get install -y ${debianPackage}`,
  });
}

function present(file: string, hint: string): string {
  if (existsSync(file)) return file;
  throw new CzError('IMAGE_SOURCE', `"${file}" is missing`, { hint });
}
