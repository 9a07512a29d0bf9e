/** kubectl as the cluster's admin, in the control plane's namespace: it answers also while laptops are cut off. */
import { exec } from '../../../src/base/exec.js';
import { inside } from './namespaces.js';
import { programsPath } from './processes.js';
import { CONTROL, inCluster } from './settings.js';

/** Returns the argument vector of kubectl as the admin. */
export function kubectlArgv(args: readonly string[]): [string, ...string[]] {
  const folder = [`--kubeconfig=${inCluster('kubeconfig')}`, `--cache-dir=${inCluster('kubectl-cache')}`];
  const program = [inCluster('bin', 'kubectl'), ...folder];
  return inside({ net: CONTROL }, [...program, ...args]);
}

/** Runs kubectl as the admin and returns its output. @throws EXEC_FAILED with what kubectl said */
export async function kubectl(args: readonly string[], input?: string): Promise<string> {
  const options = { env: { PATH: programsPath(), HOME: '/root' }, timeoutMs: 120_000 };
  const done = await exec(kubectlArgv(args), input === undefined ? options : { ...options, input });
  return done.stdout;
}
