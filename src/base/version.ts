/**
 * The version of this program. The build puts package.json's in as a constant; run from source, the file is read.
 */
import { readFileSync } from 'node:fs';

/** Replaced at build time (scripts/build.mjs); not defined when run from source. */
declare const CZ_VERSION: string | undefined;

/** The version in package.json, as semver. */
export const VERSION: string = typeof CZ_VERSION === 'string' ? CZ_VERSION : fromPackage();

function fromPackage(): string {
  const parsed: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  if (typeof parsed !== 'object' || parsed === null || !('version' in parsed)) return '0.0.0';
  return typeof parsed.version === 'string' ? parsed.version : '0.0.0';
}
