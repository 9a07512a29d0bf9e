/**
 * The test command of the README: on a fresh Debian 12 with Node 20 and Go it installs what is missing, builds,
 * checks, and runs every suite. Closes with `N passed, N failed`. Needs nothing but Node itself to start.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { prepare } from './prepare.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const STEPS = ['check', 'unit', 'wire', 'cluster'];

async function main() {
  await prepare();
  const total = { passed: 0, failed: 0 };
  const { runChecks } = await import('./check.mjs');
  const { runSuite } = await import('./test.mjs');
  for (const step of STEPS) {
    const started = Date.now();
    console.log(`── ${step}`);
    const counts = step === 'check' ? runChecks() : runSuite(step);
    total.passed += counts.passed;
    total.failed += counts.failed;
    console.log(
      `── ${step}: ${counts.passed} passed, ${counts.failed} failed in ${Math.round((Date.now() - started) / 1000)} s`,
    );
  }
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
}

try {
  await main();
} finally {
  if (existsSync(`${root}node_modules`))
    spawnSync('npm', ['run', '--silent', 'cluster', '--', 'down'], { cwd: root, stdio: 'inherit' });
}
