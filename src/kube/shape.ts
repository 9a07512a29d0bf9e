/**
 * Reads values of unknown shape (files, plugins' output, the API server's answers) field by field; what has another
 * type than expected is an error that names the field, never a surprise later.
 */

/** An object with values of any type. */
export type Fields = Readonly<Record<string, unknown>>;

/** Returns whether the value is an object with fields. */
export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns the value as an object. @throws TypeError naming `what` */
export function fields(value: unknown, what: string): Fields {
  if (!isFields(value)) throw new TypeError(`${what} is no mapping`);
  return value;
}

/**
 * Returns the value as the API type that the caller expects of the API server: the one checked edge where its JSON
 * becomes typed. Only that it is an object is checked. @throws TypeError naming `what`
 */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller names the type of what it asked for
export function apiObject<T>(value: unknown, what: string): T {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return fields(value, what) as T;
}

/** Returns the field as a mapping; undefined when it is missing or null. @throws TypeError */
export function optionalFields(of: Fields, key: string): Fields | undefined {
  const value = of[key];
  return value === undefined || value === null ? undefined : fields(value, `"${key}"`);
}

/** Returns the field as text; undefined when it is missing or null. @throws TypeError */
export function optionalText(of: Fields, key: string): string | undefined {
  const value = of[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new TypeError(`"${key}" is no text`);
}

/** Returns the field as a yes or no; false when it is missing or null. @throws TypeError */
export function flag(of: Fields, key: string): boolean {
  const value = of[key] ?? false;
  if (typeof value !== 'boolean') throw new TypeError(`"${key}" is neither true nor false`);
  return value;
}

/** Returns the field as a list; empty when it is missing or null. @throws TypeError */
export function listOf(of: Fields, key: string): readonly unknown[] {
  const value = of[key] ?? [];
  if (!Array.isArray(value)) throw new TypeError(`"${key}" is no list`);
  return value;
}

/** Returns the field as a list of texts; empty when it is missing or null. @throws TypeError */
export function textList(of: Fields, key: string): string[] {
  return listOf(of, key).map((item) => {
    if (typeof item !== 'string') throw new TypeError(`"${key}" is no list of texts`);
    return item;
  });
}
