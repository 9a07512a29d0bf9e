/**
 * One line of a log (a JSON object, base/log.ts) for people. Pure.
 */
import { printable, type Paint, type Ui } from './ui.js';

const COLOURS: Readonly<Record<string, Paint>> = { debug: 'dim', warn: 'yellow', error: 'red' };

/** Returns the line; with `json` as it is, plus which end it came from. What is no JSON is shown as it is. */
export function formatLogLine(
  end: 'daemon' | 'manager',
  line: string,
  format: string | undefined,
  { paint }: Pick<Ui, 'paint'>,
): string {
  const entry = parse(line);
  if (format === 'json') return JSON.stringify({ end, ...(entry ?? { message: line }) });
  const label = end.padEnd(7);
  if (entry === undefined) return `${paint('dim', label)}  ${printable(line)}`;
  const { time, level, message, ...fields } = entry;
  const details = Object.entries(fields).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  const word = textOf(level).padEnd(5);
  const colour = COLOURS[textOf(level)];
  const parts = [label, textOf(time), colour === undefined ? word : paint(colour, word)];
  return [...parts, printable([textOf(message), ...details].join('  '))].join('  ');
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? printable(value) : '';
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
