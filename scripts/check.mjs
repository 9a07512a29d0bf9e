/**
 * Everything about the source that a tool can hold: format, type-aware lint, types, dead code and unused
 * dependencies, the import table. Closes with `N passed, N failed`.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** @type {readonly (readonly [name: string, argv: readonly string[]])[]} */
const CHECKS = [
  ['format', ['prettier', '--check', '--log-level', 'warn', '.']],
  ['lint', ['oxlint', '--type-aware', '--deny-warnings', 'src', 'test', 'agent-image', 'scripts', 'native']],
  ['types', ['tsc', '--noEmit', '-p', '.']],
  ['dead code and dependencies', ['knip', '--no-progress']],
  ['import table', ['tsx', '--test', 'test/unit/import-table.test.ts']],
];

/** Runs each check and returns the counts. */
export function runChecks() {
  const counts = { passed: 0, failed: 0 };
  for (const [name, [program, ...args]] of CHECKS) {
    const result = spawnSync(`${root}node_modules/.bin/${program}`, args, { cwd: root, encoding: 'utf8' });
    const ok = result.status === 0;
    counts[ok ? 'passed' : 'failed'] += 1;
    console.log(`${ok ? '✔' : '✖'} ${name}`);
    if (!ok) console.log((result.stdout ?? '') + (result.stderr ?? ''));
  }
  return counts;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const counts = runChecks();
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  process.exitCode = counts.failed === 0 ? 0 : 1;
}
