/**
 * Reads the plain YAML that kubectl and most tools write a kubeconfig in: block mappings and lists of simple one-line
 * values. It gives up on anything else, and the real parser takes over (yaml.ts): this one only saves its loading, 20 ms
 * of `cz connect`. Where it does not give up it says what the real one says; a property test holds the two together.
 * YAML 1.2.2 §8.2
 */

interface Line {
  readonly indent: number;
  readonly text: string;
}

class NotPlain extends Error {}

const KEY = /^([A-Za-z][A-Za-z0-9_./-]*):(?: +(.*))?$/;
const PLAIN = /^[A-Za-z/](?:[A-Za-z0-9_.,/:@+=%~-]*[A-Za-z0-9_./@+=%~-])?$/;
const QUOTED = /^(?:"([A-Za-z0-9 _.,/:@+=%-]*)"|'([A-Za-z0-9 _.,/:@+=%-]*)')$/;
/** Words that are, or were in older versions, no text. */
const RESERVED = /^(?:true|false|null|yes|no|on|off|y|n)$/i;
const LITERALS: ReadonlyMap<string, () => unknown> = new Map<string, () => unknown>([
  ['true', () => true],
  ['false', () => false],
  ['null', () => null],
  ['{}', () => ({})],
  ['[]', () => []],
]);
/** Deepest nesting (a kubeconfig has seven). */
const DEPTH_LIMIT = 32;

/** Returns the value of the text, or undefined when it is not plain enough. */
export function parsePlainYaml(text: string): unknown {
  try {
    const lines = splitLines(text);
    const [first] = lines;
    if (first === undefined || first.indent !== 0) return undefined;
    const { value, next } = parseBlock(lines, 0, DEPTH_LIMIT);
    return next === lines.length ? value : undefined;
  } catch (error) {
    if (error instanceof NotPlain) return undefined;
    throw error;
  }
}

function splitLines(text: string): Line[] {
  if (/[^\x20-\x7e\n]/.test(text)) throw new NotPlain();
  const lines: Line[] = [];
  for (const raw of text.split('\n')) {
    const line = raw.trimEnd();
    const body = line.trimStart();
    if (body !== '' && !body.startsWith('#')) lines.push({ indent: line.length - body.length, text: body });
  }
  return lines;
}

interface Parsed {
  readonly value: unknown;
  /** The first line behind it. */
  readonly next: number;
}

/** Reads the mapping or list that begins at line `at`. */
function parseBlock(lines: Line[], at: number, depth: number): Parsed {
  const first = lines[at];
  if (first === undefined || depth === 0) throw new NotPlain();
  return isItem(first)
    ? parseList(lines, at, first.indent, depth)
    : parseMapping(lines, at, first.indent, depth);
}

function isItem({ text }: Line): boolean {
  return text === '-' || text.startsWith('- ');
}

function parseMapping(lines: Line[], at: number, indent: number, depth: number): Parsed {
  const value = new Map<string, unknown>();
  let next = at;
  for (
    let line = lines[next];
    line !== undefined && line.indent === indent && !isItem(line);
    line = lines[next]
  ) {
    const [, key = '', rest = ''] = KEY.exec(line.text) ?? [];
    if (key === '' || RESERVED.test(key) || value.has(key)) throw new NotPlain();
    const parsed =
      rest === '' ? parseNested(lines, next, indent, depth) : parseScalar(lines, next, rest, indent);
    value.set(key, parsed.value);
    next = parsed.next;
  }
  if (next === at) throw new NotPlain();
  return { value: Object.fromEntries(value), next };
}

/** Reads what stands below `key:`: a deeper block, a list at the same depth, or nothing. */
function parseNested(lines: Line[], at: number, indent: number, depth: number): Parsed {
  const below = lines[at + 1];
  if (below === undefined || below.indent < indent) return { value: null, next: at + 1 };
  if (below.indent === indent && !isItem(below)) return { value: null, next: at + 1 };
  return parseBlock(lines, at + 1, depth - 1);
}

/** Reads a list; each item is a mapping that begins behind its dash, or a simple value. */
function parseList(lines: Line[], at: number, indent: number, depth: number): Parsed {
  const value: unknown[] = [];
  let next = at;
  for (
    let line = lines[next];
    line !== undefined && line.indent === indent && isItem(line);
    line = lines[next]
  ) {
    const body = line.text.slice(1).trimStart();
    if (body === '' || body.startsWith('-')) throw new NotPlain();
    const inner = indent + line.text.length - body.length;
    const isMapping = KEY.test(body);
    if (isMapping) lines[next] = { indent: inner, text: body };
    const parsed = isMapping
      ? parseMapping(lines, next, inner, depth - 1)
      : parseScalar(lines, next, body, indent);
    value.push(parsed.value);
    next = parsed.next;
  }
  return { value, next };
}

function parseScalar(lines: readonly Line[], at: number, text: string, indent: number): Parsed {
  const below = lines[at + 1];
  if (below !== undefined && below.indent > indent) throw new NotPlain(); // a value over several lines
  return { value: scalarOf(text), next: at + 1 };
}

function scalarOf(text: string): unknown {
  const literal = LITERALS.get(text);
  if (literal !== undefined) return literal();
  const quoted = QUOTED.exec(text);
  if (quoted !== null) return quoted[1] ?? quoted[2] ?? '';
  if (!PLAIN.test(text) || RESERVED.test(text)) throw new NotPlain();
  return text;
}
