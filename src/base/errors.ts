/**
 * The one error class of the project. A `code` is what programs match on; the message says what went wrong
 * with its operand quoted; the hint is the user's next step. The exit code of a failed command follows from
 * the code by the table below (the table is the command line's contract).
 */

/** Exit codes of the command line, by meaning. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  notConnected: 3,
  notFound: 4,
  notPermitted: 5,
  conflict: 6,
  timedOut: 124,
  interrupted: 130,
} as const;

const EXIT_BY_CODE: Readonly<Record<string, number>> = {
  USAGE: EXIT.usage,
  NOT_CONNECTED: EXIT.notConnected,
  NOT_FOUND: EXIT.notFound,
  CONTEXT_UNKNOWN: EXIT.notFound,
  KUBECONFIG_MISSING: EXIT.notFound,
  MANAGER_MISSING: EXIT.notFound,
  NOT_PERMITTED: EXIT.notPermitted,
  NOT_ROOT: EXIT.notPermitted,
  CREDENTIAL_EXPIRED: EXIT.notPermitted,
  KUBECONFIG_UNREADABLE: EXIT.notPermitted,
  CONFLICT: EXIT.conflict,
  OTHER_CONTEXT: EXIT.conflict,
  NETWORK_OVERLAP: EXIT.conflict,
  TIMED_OUT: EXIT.timedOut,
  INTERRUPTED: EXIT.interrupted,
};

export interface CzErrorOptions {
  readonly hint?: string;
  readonly cause?: unknown;
}

/** An error with a stable code in SCREAMING_SNAKE_CASE, and, where there is one, the user's next step. */
export class CzError extends Error {
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: CzErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'CzError';
    this.code = code;
    this.hint = options.hint;
  }
}

/** Returns the exit code that the command line gives for an error code; 1 for codes without one of their own. */
export function exitCodeOf(code: string): number {
  return EXIT_BY_CODE[code] ?? EXIT.failure;
}

/** Returns whether `error` is a CzError with this code. */
export function hasCode(error: unknown, code: string): boolean {
  return codeOf(error) === code;
}

/** Returns the `code` of a CzError or of a Node system error (`ENOENT`), else undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Returns the message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
