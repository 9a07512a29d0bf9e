/**
 * The voice: the answer goes to standard output, all talk to standard error. On a terminal it has colour and a
 * progress line for what takes over a second, gone when done; elsewhere plain lines.
 */
import { CzError, messageOf } from '../base/errors.js';
import type { ProgressEvent } from '../control/schema.js';

/** Something is said of a step that takes longer than this. */
const PROGRESS_AFTER_MS = 1000;
const FRAME_MS = 100;
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

interface Sink {
  write(text: string): void;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface UiOptions {
  readonly out: Sink;
  readonly err: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

export type Paint = 'bold' | 'dim' | 'red' | 'green' | 'yellow';

export interface Ui {
  /** The answer, to standard output; a newline is added where it has none. */
  answer(text: string): void;
  /** Says something; not with `--quiet`. */
  note(text: string): void;
  /** Says something with `--verbose` alone. */
  detail(text: string): void;
  warn(text: string, hint?: string): void;
  /** Says the error, and its hint. */
  error(error: unknown): void;
  /** Shows what a daemon or an installer is doing. */
  progress(event: ProgressEvent): void;
  /** Ends whatever progress line there is. */
  settle(): void;
  /** Returns the text in a colour, where standard output has colours. */
  paint(paint: Paint, text: string): string;
}

const CODES: Readonly<Record<Paint, number>> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 };

/** Returns a voice. */
export function createUi({ out, err, env, quiet = false, verbose = false }: UiOptions): Ui {
  const colours = (sink: Sink) => sink.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  const paintFor = (sink: Sink) => (paint: Paint, text: string) =>
    colours(sink) ? `\u001B[${CODES[paint]}m${text}\u001B[0m` : text;
  const paintErr = paintFor(err);
  const line = createProgressLine(err, err.isTTY === true && !env['CI'] && env['TERM'] !== 'dumb', quiet);
  const say = (text: string) => {
    line.clear();
    err.write(`${text}\n`);
  };
  const tell = (kind: string, paint: Paint, text: string, hint?: string) => {
    say(`cz: ${paintErr(paint, `${kind}:`)} ${printable(text)}`);
    if (hint !== undefined) say(`cz: ${paintErr('bold', 'hint:')} ${printable(hint)}`);
  };
  return {
    answer(text) {
      line.clear();
      out.write(text.endsWith('\n') || text === '' ? text : `${text}\n`);
    },
    note: (text) => void (quiet || say(`cz: ${printable(text)}`)),
    detail: (text) => void (verbose && say(`cz: ${printable(text)}`)),
    warn: (text, hint) => tell('warning', 'yellow', text, hint),
    error(error) {
      line.stop();
      tell('error', 'red', messageOf(error), error instanceof CzError ? error.hint : undefined);
      if (verbose && error instanceof Error && error.cause !== undefined)
        say(`cz: because: ${printable(messageOf(error.cause))}`);
    },
    progress(event) {
      if (event.kind === 'warning') return tell('warning', 'yellow', event.text, event.hint);
      if (event.kind === 'started') return line.start(printable(event.text));
      line.stop();
      if (verbose) say(`cz: ${printable(event.text)} (${formatMs(event.tookMs)})`);
    },
    settle: () => line.stop(),
    paint: paintFor(out),
  };
}

interface ProgressLine {
  start(text: string): void;
  stop(): void;
  /** Takes the line off the screen; the next frame draws it again. */
  clear(): void;
}

function createProgressLine(err: Sink, animated: boolean, quiet: boolean): ProgressLine {
  let timer: NodeJS.Timeout | undefined;
  let drawn = false;
  const clear = () => {
    if (drawn) err.write('\r\u001B[K');
    drawn = false;
  };
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    clear();
  };
  const draw = (text: string, frame: number) => {
    const shown = `${FRAMES[frame % FRAMES.length] ?? ''} ${text} …`;
    err.write(`\r\u001B[K${shown.slice(0, Math.max(10, (err.columns ?? 80) - 1))}`);
    drawn = true;
  };
  const animate = (text: string) => {
    let frame = 0;
    timer = setInterval(() => draw(text, (frame += 1)), FRAME_MS);
    draw(text, frame);
  };
  return {
    clear,
    stop,
    start(text) {
      stop();
      if (quiet) return;
      timer = setTimeout(() => {
        if (animated) animate(text);
        else err.write(`cz: ${text} …\n`);
      }, PROGRESS_AFTER_MS);
      timer.unref();
    },
  };
}

/** Returns the text without control characters: what a cluster or a file says must not steer the terminal. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu, (char) =>
    char === '\n' || char === '\t' ? char : '�',
  );
}

/** Returns `850 ms`, `1.2 s`. */
function formatMs(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
