/**
 * Reasons beside manifests: a note on an object, or on one of its keys, that `--print` shows as a YAML comment and
 * that the object itself does not carry. A copy of an object has no reasons.
 */

const notes = new WeakMap<object, ReadonlyMap<string, string>>();

/** The key under which a note on the whole object is kept. */
const WHOLE = '';

/** Returns `object` itself, its keys annotated: `{ key: why that key has its value }`. An array's keys are its indices. */
export function explain<T extends object>(object: T, reasons: Readonly<Record<string, string>>): T {
  notes.set(object, new Map([...(notes.get(object) ?? []), ...Object.entries(reasons)]));
  return object;
}

/** Returns `object` itself, annotated as a whole. */
export function because<T extends object>(reason: string, object: T): T {
  return explain(object, { [WHOLE]: reason });
}

/** Returns the reason kept for a key of `parent`, else the one kept for the value there, else undefined. */
export function reasonOf(parent: object, key: string, value: unknown): string | undefined {
  const own = notes.get(parent)?.get(key);
  if (own !== undefined || typeof value !== 'object' || value === null) return own;
  return notes.get(value)?.get(WHOLE);
}

/** Returns the reason kept for the whole object. */
export function reasonOfWhole(object: object): string | undefined {
  return notes.get(object)?.get(WHOLE);
}
