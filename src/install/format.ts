/**
 * Manifests as YAML, with their reasons as comments, for `cz install --print`. A writer only, for plain JSON
 * shapes; a string that could read as anything else is quoted as JSON does, which YAML 1.2 §7.3.1 includes.
 */
import { reasonOf, reasonOfWhole } from './reasons.js';

/** Comments are wrapped at this column (our choice). */
const COMMENT_WIDTH = 110;
const PLAIN = /^[A-Za-z/][A-Za-z0-9 ._/()-]*$/;
const NOT_STRINGS = /^(?:true|false|null|yes|no|on|off|y|n|nan|inf)$/i;

/** Returns one YAML stream of these objects, documents parted by `---`. Keys that are undefined are left out. */
export function formatManifests(objects: readonly object[]): string {
  return objects.map((object) => `---\n${wholeComment(object)}${lines(object, '').join('\n')}\n`).join('');
}

function wholeComment(object: object): string {
  const reason = reasonOfWhole(object);
  return reason === undefined ? '' : `${comment(reason, '').join('\n')}\n`;
}

function lines(value: object, indent: string): string[] {
  return Array.isArray(value) ? itemLines(value, indent) : entryLines(value, indent);
}

function entryLines(object: object, indent: string): string[] {
  return Object.entries(object)
    .filter(([, value]) => value !== undefined)
    .flatMap(([key, value]: [string, unknown]) =>
      comment(reasonOf(object, key, value), indent).concat(entryOf(key, value, indent)),
    );
}

function entryOf(key: string, value: unknown, indent: string): string[] {
  return entry(`${indent}${scalar(key)}:`, value, Array.isArray(value) ? indent : `${indent}  `);
}

function entry(head: string, value: unknown, indent: string): string[] {
  return isFilled(value) ? [head, ...lines(value, indent)] : [`${head} ${scalar(value)}`];
}

function itemLines(items: readonly unknown[], indent: string): string[] {
  return items.flatMap((item, index) =>
    comment(reasonOf(items, String(index), item), indent).concat(itemOf(item, indent)),
  );
}

function itemOf(item: unknown, indent: string): string[] {
  if (!isFilled(item)) return [`${indent}- ${scalar(item)}`];
  const inner = `${indent}  `;
  const rows = lines(item, inner);
  const first = rows.findIndex((row) => !row.trimStart().startsWith('#'));
  const dashed = `${indent}- ${(rows[first] ?? '').slice(inner.length)}`;
  return [...rows.slice(0, first).map((row) => row.slice(2)), dashed, ...rows.slice(first + 1)];
}

function isFilled(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

function scalar(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  const plain = PLAIN.test(value) && !value.endsWith(' ') && !NOT_STRINGS.test(value);
  return plain ? value : JSON.stringify(value);
}

function comment(reason: string | undefined, indent: string): string[] {
  if (reason === undefined) return [];
  const rows: string[] = [];
  for (const word of reason.split(/\s+/)) {
    const last = rows.at(-1);
    if (last !== undefined && indent.length + last.length + word.length < COMMENT_WIDTH)
      rows[rows.length - 1] = `${last} ${word}`;
    else rows.push(`# ${word}`);
  }
  return rows.map((row) => indent + row);
}
