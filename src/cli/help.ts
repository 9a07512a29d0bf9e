/**
 * The help, made from the commands' data: examples first, then what can be given. Pure.
 */
import type { CommandSpec, Example, OptionSpec } from './command.js';

/** Examples of the program as a whole. */
const FIRST_STEPS: readonly Example[] = [
  { line: 'cz install', does: 'once per cluster' },
  { line: 'sudo cz connect', does: 'now every Service and pod is reachable' },
  { line: 'curl http://web.shop', does: 'the Service web of the namespace shop' },
  { line: 'cz status', does: 'what is connected' },
  { line: 'cz disconnect', does: 'as before' },
];

/** Returns the help of the program. `program` is what the user typed. */
export function formatProgramHelp(program: string, commands: readonly CommandSpec[]): string {
  const rows = commands.map(({ name, summary }): [string, string] => [name, summary]);
  return sections([
    'cz makes this laptop a member of a Kubernetes cluster.',
    `Examples:\n${exampleRows(program, FIRST_STEPS)}`,
    `Commands:\n${table(rows)}`,
    `${program} COMMAND --help tells more about a command.`,
  ]);
}

/** Returns the help of one command. */
export function formatCommandHelp(program: string, spec: CommandSpec, common: readonly OptionSpec[]): string {
  const words = [program, spec.name, ...(spec.args ?? []).map(({ name }) => name), '[flags]'];
  if (spec.takesCommand === true) words.push('[-- CMD…]');
  const rows = [...spec.options, ...common].map(({ flags, does, repeat }): [string, string] => [
    flags.startsWith('--') ? `    ${flags}` : flags,
    repeat === true ? `${does} (repeatable)` : does,
  ]);
  return sections([
    `${spec.summary[0]?.toUpperCase() ?? ''}${spec.summary.slice(1)}.`,
    `Examples:\n${exampleRows(program, spec.examples)}`,
    `Usage:\n  ${words.join(' ')}`,
    `Flags:\n${table(rows)}`,
  ]);
}

function exampleRows(program: string, examples: readonly Example[]): string {
  return table(examples.map(({ line, does }) => [line.replaceAll(/\bcz\b(?= )/g, program), `# ${does}`]));
}

function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n');
}

function sections(parts: readonly string[]): string {
  return `${parts.join('\n\n')}\n`;
}
