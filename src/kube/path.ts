/**
 * Paths of the Kubernetes API, with every name in them encoded.
 */
import { CzError } from '../base/errors.js';

/**
 * Tag for paths: apiPath`/api/v1/namespaces/${namespace}/pods/${name}`; each value becomes exactly one segment or a
 * part of one. @throws PATH_INVALID for an empty value and for `.` and `..`
 */
export function apiPath(parts: TemplateStringsArray, ...values: readonly (string | number)[]): string {
  return parts.reduce((path, part, index) => path + segment(values[index - 1]) + part);
}

function segment(value: string | number | undefined): string {
  const text = String(value ?? '');
  if (text === '' || text === '.' || text === '..')
    throw new CzError('PATH_INVALID', `"${text}" is no name of a Kubernetes object`);
  return encodeURIComponent(text).replaceAll('%3A', ':');
}

/** Returns the path with its query; undefined values are left out. @throws PATH_INVALID */
export function withQuery(path: string, query: Readonly<Record<string, string | undefined>> = {}): string {
  if (!/^\/[\x21-\x7e]*$/.test(path) || /[?#]|\/\.\.?(?:\/|$)/.test(path))
    throw new CzError('PATH_INVALID', `"${path}" is no path of the Kubernetes API`);
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) text.set(name, value);
  return text.size === 0 ? path : `${path}?${text.toString()}`;
}
