/**
 * The answer in the form that was asked for: for people, or JSON, YAML, a name.
 */
import { printable, type Ui } from './ui.js';

export interface Answer {
  /** What `-o json` and `-o yaml` print. */
  readonly value: unknown;
  /** For people; `wide`: with more in it. */
  human(wide: boolean): string;
  /** What `-o name` prints; nothing where there is no name. */
  readonly name?: string;
}

/** Prints the answer to standard output. `format` is one of the command's choices, or undefined for people. */
export async function printAnswer(ui: Ui, format: string | undefined, answer: Answer): Promise<void> {
  ui.answer(await formatAnswer(format, answer));
}

async function formatAnswer(format: string | undefined, answer: Answer): Promise<string> {
  if (format === 'json') return JSON.stringify(answer.value, undefined, 2);
  if (format === 'yaml') {
    const { formatYaml } = await import('../kube/yaml.js');
    return formatYaml(answer.value);
  }
  if (format === 'name') return answer.name ?? '';
  return answer.human(format === 'wide');
}

/** Returns lines of `label  value`, the labels in one column; empty values are left out. */
export function formatRows(rows: readonly (readonly [string, string | undefined])[], indent = '  '): string {
  const shown = rows.filter((row): row is readonly [string, string] => row[1] !== undefined && row[1] !== '');
  const width = Math.max(0, ...shown.map(([label]) => label.length));
  return shown.map(([label, value]) => `${indent}${label.padEnd(width)}  ${printable(value)}\n`).join('');
}
