/**
 * `cz uninstall` without its flags' grammar: ends every session and removes all of cz from the cluster.
 */
import { uninstallManager } from '../install/uninstall.js';
import { withCluster, type ClusterOptions, type InstallUi } from './install.js';

/** Runs `cz uninstall`. @throws the codes of install/uninstall.ts, kube/access.ts */
export async function runUninstall(options: ClusterOptions, ui: InstallUi): Promise<void> {
  const { signal } = options;
  const request = {
    report: (line: string) => ui.progress(line),
    ...(signal === undefined ? {} : { signal }),
  };
  const { removed } = await withCluster(options, (api) => uninstallManager(api, request));
  ui.print(
    removed.length === 0 ? 'nothing of cz is in the cluster\n' : 'nothing of cz is left in the cluster\n',
  );
}
