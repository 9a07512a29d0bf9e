/**
 * Builds the Go programs of the tests: Kubernetes, containerd, etcd, CoreDNS, the shaper, the workloads' servers. Each
 * module's programs lie in the cache in a folder named by a hash of the sources, go.mod, go.sum, flags and Go version
 * that went into them, so they are built once (minutes) and found ever after (milliseconds). Nothing else is written.
 */
import { createHash } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { CzError } from '../../../src/base/errors.js';
import { exec } from '../../../src/base/exec.js';
import { CACHE_DIR, MODULES_DIR, VERSIONS, WORKLOADS_DIR } from './settings.js';
import { say, telling } from './voice.js';

/** The longest that one module may take to compile (our choice: ten times the longest seen on two cores). */
const BUILD_TIMEOUT_MS = 60 * 60_000;
const GO_HINT = 'install Go 1.26 or newer from go.dev/dl, or put it on the PATH';

interface Module {
  readonly what: string;
  readonly folder: string;
  readonly flags: readonly string[];
  readonly packages: readonly string[];
  /** Further names of a program that looks at the name it is called by. */
  readonly links?: Readonly<Record<string, readonly string[]>>;
}

const KUBERNETES_VERSION = [
  `k8s.io/component-base/version.gitVersion=v${VERSIONS.kubernetes}`,
  `k8s.io/component-base/version.gitMajor=${VERSIONS.kubernetes.split('.')[0]}`,
  `k8s.io/component-base/version.gitMinor=${VERSIONS.kubernetes.split('.')[1]}`,
  `k8s.io/client-go/pkg/version.gitVersion=v${VERSIONS.kubernetes}`,
];
const CONTAINERD = 'github.com/containerd/containerd/v2';

const MODULES: readonly Module[] = [
  {
    what: `Kubernetes ${VERSIONS.kubernetes}`,
    folder: path.join(MODULES_DIR, 'kubernetes'),
    flags: ['-ldflags', linkerFlags(KUBERNETES_VERSION)],
    packages: ['./kube', './kubectl'],
    links: {
      kube: ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy', 'kubelet'],
    },
  },
  {
    what: `containerd ${VERSIONS.containerd}`,
    folder: path.join(MODULES_DIR, 'containerd'),
    flags: [
      '-tags',
      'no_btrfs,no_devmapper,no_zfs',
      '-ldflags',
      linkerFlags([`${CONTAINERD}/version.Version=v${VERSIONS.containerd}`]),
    ],
    packages: ['containerd', 'containerd-shim-runc-v2', 'ctr'].map((name) => `${CONTAINERD}/cmd/${name}`),
  },
  {
    what: `etcd ${VERSIONS.etcd}`,
    folder: path.join(MODULES_DIR, 'etcd'),
    flags: ['-ldflags', linkerFlags([])],
    packages: ['.'],
  },
  {
    what: `CoreDNS ${VERSIONS.coredns}`,
    folder: path.join(MODULES_DIR, 'coredns'),
    flags: ['-ldflags', linkerFlags([])],
    packages: ['.'],
  },
  {
    what: "the tests' own programs",
    folder: path.join(WORKLOADS_DIR, 'programs'),
    flags: ['-ldflags', linkerFlags([])],
    packages: ['./shaper', './workload'],
  },
  {
    what: "the bench's load",
    folder: path.join(WORKLOADS_DIR, '../../bench/load'),
    flags: ['-ldflags', linkerFlags([])],
    packages: ['.'],
  },
];

/** Returns the folders that hold the built programs, after building what is missing. @throws BUILD_FAILED · GO_MISSING */
export async function buildPrograms(): Promise<readonly string[]> {
  const go = await goVersion();
  const folders: string[] = [];
  for (const module of MODULES) folders.push(await built(module, go));
  return folders;
}

async function built(module: Module, go: string): Promise<string> {
  const name = `${path.basename(module.folder)}-${await fingerprint(module, go)}`;
  const folder = path.join(CACHE_DIR, name);
  if (await exists(folder)) return folder;
  say(`building ${module.what}: once, then it is kept in ${CACHE_DIR}`);
  await telling(`building ${module.what}`, () => build(module, folder));
  return folder;
}

/** Builds beside the final place and renames, so that an interrupted build is never taken for a finished one. */
async function build(module: Module, folder: string): Promise<void> {
  const draft = `${folder}.${process.pid}`;
  await mkdir(draft, { recursive: true });
  try {
    await exec(['go', 'build', '-trimpath', ...module.flags, '-o', `${draft}/`, ...module.packages], {
      cwd: module.folder,
      env: goEnvironment(),
      timeoutMs: BUILD_TIMEOUT_MS,
    });
    for (const [program, names] of Object.entries(module.links ?? {}))
      for (const name of names) await symlink(program, path.join(draft, name));
    await rename(draft, folder);
  } catch (cause) {
    throw new CzError('BUILD_FAILED', `building ${module.what} failed`, { cause });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function goVersion(): Promise<string> {
  const found = await exec(['go', 'env', 'GOVERSION', 'GOARCH'], { env: goEnvironment() }).catch(
    (cause: unknown) => {
      throw new CzError('GO_MISSING', 'no program "go" found', { cause, hint: GO_HINT });
    },
  );
  return found.stdout;
}

/** Go's usual place is looked at even if the PATH forgot it; cgo off, so that no compiler of C is needed. */
function goEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/local/go/bin`, CGO_ENABLED: '0' };
}

async function fingerprint(module: Module, go: string): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([go, module.flags, module.packages, module.links]));
  for (const file of await sources(module.folder)) {
    const content = await readFile(path.join(module.folder, file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex').slice(0, 16);
}

async function sources(folder: string): Promise<string[]> {
  const files = await readdir(folder, { recursive: true });
  return files.filter((file) => /\.go$|^go\.(?:mod|sum)$/.test(file)).sort();
}

function linkerFlags(values: readonly string[]): string {
  return ['-s', '-w', ...values.map((value) => `-X ${value}`)].join(' ');
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
