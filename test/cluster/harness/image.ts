/** The workloads' image: busybox, the tests' own servers, iperf3, Redis and CoreDNS in one layer, kept in the cache. */
import { createHash } from 'node:crypto';
import { access, mkdir, readdir, realpath, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { writeImage, type ImageEntry } from '../../../agent-image/archive.js';
import { programEntries } from '../../../agent-image/libraries.js';
import { CACHE_DIR, inCluster, WORKLOAD_IMAGE } from './settings.js';
import { telling } from './voice.js';

const APPLETS =
  'cat chmod chown cp date dd df echo env find grep head hostname id ip kill ln ls mkdir mknod mv nc netstat \
nslookup ping printf ps rm rmdir sed seq sh sleep stat tail tar tee test timeout touch traceroute tr true umount wc wget';

/** Returns the path of the image file, after writing it (and dropping older ones) if one of its programs changed. */
export async function workloadImage(): Promise<string> {
  const entries = await content();
  const file = path.join(CACHE_DIR, `workload-${await fingerprint(entries)}.tar`);
  const there = await access(file).then(
    () => true,
    () => false,
  );
  if (!there) await telling("writing the workloads' image", () => write(entries, file));
  return file;
}

async function write(entries: readonly ImageEntry[], output: string): Promise<void> {
  await mkdir(CACHE_DIR, { recursive: true });
  const config = { Entrypoint: ['/bin/workload'], Cmd: ['pause'], Env: ['PATH=/bin'] };
  await writeImage({ entries, config, tags: [WORKLOAD_IMAGE], output });
  for (const file of await readdir(CACHE_DIR))
    if (/^workload-.*\.tar$/.test(file) && file !== path.basename(output))
      await rm(path.join(CACHE_DIR, file));
}

async function content(): Promise<ImageEntry[]> {
  const own = ['workload', 'coredns'].map((name) => ({
    source: inCluster('bin', name),
    path: `/bin/${name}`,
  }));
  const debian = [
    { source: '/bin/busybox', path: '/bin/busybox' },
    { source: '/usr/bin/iperf3', path: '/bin/iperf3' },
    { source: '/usr/bin/redis-check-rdb', path: '/bin/redis-server' }, // one program, known by the name it is called by
    { source: '/usr/bin/redis-cli', path: '/bin/redis-cli' },
  ];
  const links = APPLETS.split(/\s+/).map((applet) => ({ path: `/bin/${applet}`, link: 'busybox' }));
  const folders = [
    { path: '/tmp', folder: true, mode: 0o1777 } as const,
    { path: '/etc/passwd', content: 'root:x:0:0:root:/:/bin/sh\n' },
  ];
  return [...(await programEntries([...own, ...debian])), ...links, ...folders];
}

/** Sizes and times of the files stand for their content: hashing 100 MB at each start would cost a second. */
async function fingerprint(entries: readonly ImageEntry[]): Promise<string> {
  const hash = createHash('sha256').update(WORKLOAD_IMAGE);
  for (const entry of entries) {
    const source = 'source' in entry ? await realpath(entry.source) : undefined;
    const facts = source === undefined ? undefined : await stat(source);
    hash.update(JSON.stringify([entry, source, facts?.size, facts?.mtimeMs]));
  }
  return hash.digest('hex').slice(0, 16);
}
