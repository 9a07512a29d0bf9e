/**
 * Runs test folders with Node's own runner and closes with `N passed, N failed`.
 * Usage: node scripts/test.mjs unit|wire|cluster… [-- PATTERN…]   (a pattern picks files by a part of their path)
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Suites that share one cluster, or measure a socket's silence, run one file at a time. */
const ONE_AT_A_TIME = new Set(['cluster', 'wire']);

/** Runs one folder of test/ and returns its counts. */
export function runSuite(folder, patterns = []) {
  const files = testFiles(join(root, 'test', folder)).filter(
    (file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)),
  );
  if (files.length === 0) return { passed: 0, failed: 0 };
  if (folder === 'cluster' && !haveCluster()) return { passed: 0, failed: 1 };
  const scratch = mkdtempSync(join(tmpdir(), 'cz-test-'));
  const tap = join(scratch, 'tap');
  const result = spawnSync(process.execPath, runnerArguments(folder, files, tap), {
    cwd: root,
    stdio: 'inherit',
  });
  const counts = readCounts(readFileSync(tap, 'utf8'));
  rmSync(scratch, { recursive: true });
  if (result.status !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** Brings the tests' own cluster up (nothing to do if it is), unless KUBECONFIG names another. */
function haveCluster() {
  if (process.env.KUBECONFIG) return true;
  const up = ['run', '--silent', 'cluster', '--', 'up'];
  return spawnSync('npm', up, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }).status === 0;
}

function runnerArguments(folder, files, tap) {
  return [
    '--import',
    'tsx',
    '--test',
    ...(ONE_AT_A_TIME.has(folder) ? ['--test-concurrency=1'] : []),
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    '--test-reporter=tap',
    `--test-reporter-destination=${tap}`,
    ...files,
  ];
}

function testFiles(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function readCounts(tap) {
  const count = (name) => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(tap)?.[1] ?? 0);
  return { passed: count('pass'), failed: count('fail') + count('cancelled') };
}

function main() {
  const separator = process.argv.indexOf('--');
  const folders = process.argv.slice(2, separator === -1 ? undefined : separator);
  const patterns = separator === -1 ? [] : process.argv.slice(separator + 1);
  const total = { passed: 0, failed: 0 };
  for (const folder of folders) {
    const counts = runSuite(folder, patterns);
    total.passed += counts.passed;
    total.failed += counts.failed;
  }
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
  if (process.env.CZ_COUNTS_FILE) writeFileSync(process.env.CZ_COUNTS_FILE, JSON.stringify(total));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
