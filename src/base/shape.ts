/**
 * Validation of JSON that comes from outside: a shape takes an unknown value and returns it typed, or throws with
 * the path of what is wrong. Everything is bounded: texts, lists and maps have a maximum. Keys that a shape does
 * not name are dropped, so that a newer peer may say more.
 */
import { CzError } from './errors.js';

/** Returns `value` as a T. `at` names its place for the error. @throws MALFORMED */
export type Shape<T> = (value: unknown, at?: string) => T;

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

type Typed<F> = { readonly [K in keyof F]: F[K] extends Shape<infer T> ? T : never };
type Fields = Readonly<Record<string, Shape<unknown>>>;

/** Longest text where a shape names no limit of its own, in UTF-16 units (our choice). */
const TEXT_LIMIT = 4096;
/** Most entries of a list or map where a shape names no limit of its own (our choice). */
const LIST_LIMIT = 10_000;
/** Deepest nesting of a free JSON value (our choice: far from the stack's end). */
const DEPTH_LIMIT = 32;

/** A text of at most `limit` units without NUL, matching `pattern` where one is given. */
export function text(limit = TEXT_LIMIT, pattern?: RegExp): Shape<string> {
  return (value, at) => {
    if (typeof value !== 'string') throw malformed(at, 'is no text');
    if (value.length > limit) throw malformed(at, `is longer than ${limit}`);
    if (value.includes('\0') || !(pattern?.test(value) ?? true)) throw malformed(at, 'has a wrong form');
    return value;
  };
}

/** One of these texts. */
export function oneOf<const T extends readonly string[]>(...values: T): Shape<T[number]> {
  return (value, at) => {
    const found = values.find((candidate) => candidate === value);
    if (found === undefined) throw malformed(at, `is none of ${values.join(', ')}`);
    return found;
  };
}

/** A whole number from `least` to `most`. */
export function integer(least = 0, most = Number.MAX_SAFE_INTEGER): Shape<number> {
  return (value, at) => {
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw malformed(at, 'is no whole number');
    if (value < least || value > most) throw malformed(at, `is not within ${least} … ${most}`);
    return value;
  };
}

/** A finite number, not negative. */
export const amount: Shape<number> = (value, at) => {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw malformed(at, 'is no amount');
  return value;
};

/** True or false. */
export const flag: Shape<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw malformed(at, 'is neither true nor false');
  return value;
};

/** A list of at most `limit` values of one shape. */
export function list<T>(shape: Shape<T>, limit = LIST_LIMIT): Shape<readonly T[]> {
  return (value, at = '') => {
    if (!Array.isArray(value)) throw malformed(at, 'is no list');
    if (value.length > limit) throw malformed(at, `has more than ${limit} entries`);
    return value.map((entry: unknown, index) => shape(entry, `${at}[${index}]`));
  };
}

/** A map of at most `limit` texts to values of one shape. */
export function map<T>(shape: Shape<T>, limit = LIST_LIMIT): Shape<Readonly<Record<string, T>>> {
  return (value, at = '') => {
    const entries = Object.entries(record(value, at));
    if (entries.length > limit) throw malformed(at, `has more than ${limit} entries`);
    return Object.fromEntries(
      entries.map(([key, entry]) => [key, shape(entry, `${at}.${key.slice(0, 100)}`)]),
    );
  };
}

/** An object with these fields, and those of `optional` where they are there. Other keys are dropped. */
export function object<F extends Fields>(fields: F): Shape<Typed<F>>;
export function object<F extends Fields, O extends Fields>(
  fields: F,
  optional: O,
): Shape<Typed<F> & Partial<Typed<O>>>;
export function object(fields: Fields, optional: Fields = {}): Shape<unknown> {
  return (value, at = '') => {
    const source = record(value, at);
    const out: Record<string, unknown> = {};
    for (const [key, shape] of Object.entries(fields)) out[key] = shape(own(source, key), join(at, key));
    for (const [key, shape] of Object.entries(optional)) {
      const entry = own(source, key);
      if (entry !== undefined) out[key] = shape(entry, join(at, key));
    }
    return out;
  };
}

/** The shape's value, or null. */
export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return (value, at) => (value === null ? null : shape(value, at));
}

/** An object told apart by the text under `key`. */
export function variant<T>(key: string, shapes: Readonly<Record<string, Shape<T>>>): Shape<T> {
  return (value, at = '') => {
    const name = own(record(value, at), key);
    const shape = typeof name === 'string' && Object.hasOwn(shapes, name) ? shapes[name] : undefined;
    if (shape === undefined) throw malformed(join(at, key), 'is of no known kind');
    return shape(value, at);
  };
}

/** Any JSON value, nested at most 32 deep. */
export const json: Shape<Json> = (value, at) => asJson(value, at ?? '', DEPTH_LIMIT);

function asJson(value: unknown, at: string, depth: number): Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  if (depth === 0) throw malformed(at, 'is nested too deep');
  if (Array.isArray(value))
    return value.map((entry: unknown, index) => asJson(entry, `${at}[${index}]`, depth - 1));
  const entries = Object.entries(record(value, at));
  return Object.fromEntries(entries.map(([key, entry]) => [key, asJson(entry, join(at, key), depth - 1)]));
}

function record(value: unknown, at: string): Record<string, unknown> {
  if (!isRecord(value)) throw malformed(at, 'is no object');
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function own(source: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(source, key) ? source[key] : undefined;
}

function join(at: string, key: string): string {
  return at === '' ? key : `${at}.${key}`;
}

function malformed(at: string | undefined, what: string): CzError {
  return new CzError('MALFORMED', `"${at === undefined || at === '' ? 'value' : at}" ${what}`);
}
