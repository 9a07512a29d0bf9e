/**
 * Writes a container image as a docker-archive (one layer, its configuration, manifest.json with RepoTags) without
 * Docker or a registry; `ctr image import`, `docker load` and kind take it. Reproducible: entries sorted, times and
 * owners 0, so the same input gives the same bytes. Files are streamed, never held whole. Knows nothing of what is
 * inside. Sources: POSIX.1-2001 ustar, "Docker Image Specification v1.2.0", "Combined Image JSON + Filesystem".
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { CzError } from '../src/base/errors.js';

const BLOCK = 512;
/** Both numbers belong to the ustar header's layout. */
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
/** The largest size that eleven octal digits hold. */
const MAX_FILE_BYTES = 8 ** 11 - 1;

/** A thing in the image, at an absolute `path`. Folders above it are added by themselves, with mode 0755. */
export type ImageEntry =
  | { readonly path: string; readonly source: string; readonly mode?: number }
  | { readonly path: string; readonly content: string | Uint8Array; readonly mode?: number }
  | { readonly path: string; readonly link: string }
  | { readonly path: string; readonly folder: true; readonly mode?: number };

/** What a container of the image starts with; the keys are those of the image specification. */
export interface ImageConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly ExposedPorts?: Readonly<Record<string, object>>;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly StopSignal?: string;
  readonly User?: string;
  readonly WorkingDir?: string;
}

export interface ImageInput {
  readonly entries: readonly ImageEntry[];
  readonly config: ImageConfig;
  /** `name:tag`, at least one. */
  readonly tags: readonly string[];
  /** Where the archive goes; a file of that name is replaced, whole or not at all. */
  readonly output: string;
  /** Default: that of the machine. */
  readonly architecture?: string;
}

export interface ImageOutput {
  /** `sha256:…` of the configuration: what Docker calls the image's id. */
  readonly id: string;
  /** `sha256:…` of the layer. */
  readonly layer: string;
  /** Size of the archive. */
  readonly bytes: number;
}

/**
 * Writes the archive and returns its digests.
 * @throws IMAGE_PATH a path twice, not absolute, with "..", or too long for ustar · IMAGE_SIZE a file of 8 GiB or more
 */
export async function writeImage(input: ImageInput): Promise<ImageOutput> {
  const members = await plan(input.entries);
  const draft = `${input.output}.${process.pid}`;
  const file = await open(draft, 'w');
  try {
    const written = await writeArchive(file, members, input);
    await file.close();
    await rename(draft, input.output);
    return written;
  } finally {
    await file.close().catch(() => undefined);
    await rm(draft, { force: true });
  }
}

interface Member {
  readonly name: string;
  readonly mode: number;
  readonly type: '0' | '2' | '5';
  readonly size: number;
  readonly link: string;
  readonly body: (() => AsyncIterable<Uint8Array>) | undefined;
}

/** The layer goes first: its digest stands in the configuration, and the configuration's in the manifest. */
async function writeArchive(
  file: FileHandle,
  members: readonly Member[],
  input: ImageInput,
): Promise<ImageOutput> {
  const out = createSink(file);
  await out.add(header(fileMember('layer.tar', layerBytes(members))));
  const layer = createHash('sha256');
  for (const member of members) await addMember(out, member, layer);
  await out.add(Buffer.alloc(2 * BLOCK), layer);
  const diffId = `sha256:${layer.digest('hex')}`;
  const config = Buffer.from(JSON.stringify(imageJson(input, diffId)));
  const id = createHash('sha256').update(config).digest('hex');
  await addBytes(out, `${id}.json`, config);
  const manifest = [{ Config: `${id}.json`, RepoTags: input.tags, Layers: ['layer.tar'] }];
  await addBytes(out, 'manifest.json', Buffer.from(JSON.stringify(manifest)));
  await out.add(Buffer.alloc(2 * BLOCK));
  return { id: `sha256:${id}`, layer: diffId, bytes: out.bytes() };
}

interface Sink {
  add(bytes: Uint8Array, hash?: Hash): Promise<void>;
  bytes(): number;
}

function createSink(file: FileHandle): Sink {
  let total = 0;
  return {
    async add(bytes, hash) {
      hash?.update(bytes);
      await file.writeFile(bytes);
      total += bytes.length;
    },
    bytes: () => total,
  };
}

async function addMember(out: Sink, member: Member, hash: Hash): Promise<void> {
  await out.add(header(member), hash);
  let size = 0;
  for await (const part of member.body?.() ?? []) {
    size += part.length;
    await out.add(part, hash);
  }
  if (size !== member.size) throw new CzError('IMAGE_SIZE', `"${member.name}" changed while it was read`);
  await out.add(padding(size), hash);
}

async function addBytes(out: Sink, name: string, bytes: Uint8Array): Promise<void> {
  await out.add(header(fileMember(name, bytes.length)));
  await out.add(bytes);
  await out.add(padding(bytes.length));
}

function fileMember(name: string, size: number): Member {
  return { name, mode: 0o644, type: '0', size, link: '', body: undefined };
}

function layerBytes(members: readonly Member[]): number {
  const each = (member: Member) => BLOCK + member.size + padding(member.size).length;
  return members.reduce((sum, member) => sum + each(member), 2 * BLOCK);
}

function imageJson({ config, architecture }: ImageInput, diffId: string): unknown {
  return {
    architecture: architecture ?? (process.arch === 'x64' ? 'amd64' : process.arch),
    os: 'linux',
    created: '1970-01-01T00:00:00Z',
    config,
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created: '1970-01-01T00:00:00Z' }],
  };
}

/** Returns the members in the order of the layer: every folder before what is in it. */
async function plan(entries: readonly ImageEntry[]): Promise<Member[]> {
  const members = new Map<string, Member>();
  for (const entry of entries) {
    const member = await memberOf(entry);
    if (members.has(member.name))
      throw new CzError('IMAGE_PATH', `"${entry.path}" stands in the image twice`);
    members.set(member.name, member);
  }
  const above = new Set([...members.keys()].flatMap(foldersAbove));
  for (const name of above) if (!members.has(name)) members.set(name, folderMember(name, 0o755));
  return [...members.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function memberOf(entry: ImageEntry): Promise<Member> {
  const name = memberName(entry.path);
  if ('folder' in entry) return folderMember(`${name}/`, entry.mode ?? 0o755);
  if ('link' in entry) return { name, mode: 0o777, type: '2', size: 0, link: entry.link, body: undefined };
  const mode = entry.mode ?? 0o644;
  if ('content' in entry) {
    const bytes = Buffer.from(entry.content);
    return { name, mode, type: '0', size: bytes.length, link: '', body: () => once(bytes) };
  }
  const { size } = await stat(entry.source);
  if (size > MAX_FILE_BYTES) throw new CzError('IMAGE_SIZE', `"${entry.source}" is too large for an image`);
  return { name, mode, type: '0', size, link: '', body: () => createReadStream(entry.source) };
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield await Promise.resolve(bytes);
}

function folderMember(name: string, mode: number): Member {
  return { name, mode, type: '5', size: 0, link: '', body: undefined };
}

function memberName(absolute: string): string {
  const normal = path.posix.normalize(absolute);
  if (!absolute.startsWith('/') || absolute.split('/').includes('..') || normal === '/')
    throw new CzError('IMAGE_PATH', `"${absolute}" is no absolute path of a thing in the image`);
  return normal.slice(1).replace(/\/$/, '');
}

function foldersAbove(name: string): string[] {
  const parts = name.replace(/\/$/, '').split('/').slice(0, -1);
  return parts.map((_, index) => `${parts.slice(0, index + 1).join('/')}/`);
}

function padding(size: number): Uint8Array {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** Returns the 512 bytes of a ustar header (POSIX.1-2001 pax, "ustar Interchange Format"). */
function header(member: Member): Uint8Array {
  const block = Buffer.alloc(BLOCK);
  const { prefix, name } = splitName(member.name);
  block.write(name, 0);
  block.write(octal(member.mode, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(member.size, 11), 124);
  block.write(octal(0, 11), 136);
  block.write(' '.repeat(8), 148);
  block.write(member.type, 156);
  block.write(checkedLink(member.link), 157);
  block.write('ustar\u000000', 257);
  block.write(prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\u0000 `, 148);
  return block;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

function checkedLink(link: string): string {
  if (Buffer.byteLength(link) > NAME_BYTES)
    throw new CzError('IMAGE_PATH', `the link to "${link}" is too long`);
  return link;
}

/** A long name is split at a slash into prefix and name. */
function splitName(name: string): { readonly prefix: string; readonly name: string } {
  if (Buffer.byteLength(name) <= NAME_BYTES) return { prefix: '', name };
  for (let at = name.indexOf('/'); at > 0; at = name.indexOf('/', at + 1)) {
    const [prefix, rest] = [name.slice(0, at), name.slice(at + 1)];
    const fits = Buffer.byteLength(rest) <= NAME_BYTES && Buffer.byteLength(prefix) <= PREFIX_BYTES;
    if (fits && rest !== '') return { prefix, name: rest };
  }
  throw new CzError('IMAGE_PATH', `"${name}" is too long for an archive`);
}
