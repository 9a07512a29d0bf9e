/**
 * The log of the long-running programs (daemon, manager): one JSON object a line, on stderr, which the
 * daemon's starter points at its log file and Kubernetes at the pod's log. Never a secret, never packet bytes.
 */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Fields of a line; values are JSON. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Returns a log that adds these fields to each line. */
  with(fields: LogFields): Log;
}

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

export interface LogOptions {
  /** Lines below this level are not written. Default `info`. */
  readonly level?: LogLevel;
  /** Takes each line, without its newline. Default: stderr. */
  readonly write?: (line: string) => void;
}

/** Returns a log; `write` gets each line. */
export function createLog(options: LogOptions = {}, fields: LogFields = {}): Log {
  const least = ORDER.indexOf(options.level ?? 'info');
  const write = options.write ?? ((line: string) => void process.stderr.write(`${line}\n`));
  const at = (level: LogLevel) => (message: string, more?: LogFields) => {
    if (ORDER.indexOf(level) < least) return;
    write(
      JSON.stringify({ time: new Date().toISOString(), level, message, ...fields, ...more }, errorsAsText),
    );
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: (more) => createLog(options, { ...fields, ...more }),
  };
}

/** A log that writes nothing. */
export const silentLog: Log = createLog({ write: () => undefined });

function errorsAsText(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (!(value instanceof Error)) return value;
  const cause = value.cause === undefined ? {} : { cause: value.cause };
  const code = 'code' in value ? { code: value.code } : {};
  return { message: value.message, ...code, ...cause };
}
