/**
 * `cz install` without its flags' grammar: prints the manifests, or puts the manager into the cluster.
 */
import type { Invoker } from '../base/invoker.js';
import { VERSION } from '../base/version.js';
import { installManager, type InstallResult } from '../install/apply.js';
import { formatManifests } from '../install/format.js';
import { createManifests } from '../install/manifests.js';
import { checkChoices, checkNamespace, mergeSettings, type Choices } from '../install/settings.js';
import { openApi, type KubeApi } from '../kube/api.js';
import { loadAccess } from '../kube/access.js';

/** How install and uninstall speak. */
export interface InstallUi {
  /** A step, on stderr. */
  progress(line: string): void;
  /** The answer, on stdout. */
  print(text: string): void;
}

/** The cluster that a command talks to. */
export interface ClusterOptions {
  readonly invoker: Invoker;
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface InstallOptions extends ClusterOptions, Choices {
  /** Show the manifests; needs no cluster. */
  readonly print: boolean;
  readonly managerNamespace: string;
}

/** Runs `cz install`. @throws the codes of install/apply.ts, kube/access.ts */
export async function runInstall(options: InstallOptions, ui: InstallUi): Promise<void> {
  const choices = checkChoices(choicesOf(options));
  const namespace = checkNamespace(options.managerNamespace);
  if (options.print) {
    const settings = mergeSettings(VERSION, choices, undefined);
    return ui.print(formatManifests(createManifests({ version: VERSION, namespace, settings })));
  }
  const result = await withCluster(options, (api) =>
    installManager(api, {
      namespace,
      version: VERSION,
      choices,
      report: (line) => ui.progress(line),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    }),
  );
  for (const line of summary(result)) ui.print(`${line}\n`);
}

function choicesOf({
  image,
  allowGroups,
  onlyNamespaces,
  alsoRoute,
  nodeAddresses,
}: InstallOptions): Choices {
  const [groups, namespaces, routes] = [allowGroups, onlyNamespaces, alsoRoute].map((list) =>
    list?.filter(isGiven),
  );
  return { image, allowGroups: groups, onlyNamespaces: namespaces, alsoRoute: routes, nodeAddresses };
}

/** An empty value alone empties a list that an earlier install filled: `--allow-group ''`. */
function isGiven(value: string): boolean {
  return value !== '';
}

function summary({ namespace, pod, settings }: InstallResult): string[] {
  const groups = settings.allowGroups.map((group) => `"${group}"`).join(', ');
  const who =
    groups === ''
      ? 'only administrators may connect; let others in: cz install --allow-group GROUP'
      : `members of ${groups} may connect`;
  return [`the manager is ready: pod "${pod}" in namespace "${namespace}"`, who, 'next: sudo cz connect'];
}

/** Opens the API of the options' cluster, and closes it after `use`. */
export async function withCluster<T>(options: ClusterOptions, use: (api: KubeApi) => Promise<T>): Promise<T> {
  const { invoker, kubeconfig, context } = options;
  const access = await loadAccess({
    invoker,
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
  });
  const api = openApi(access);
  try {
    return await use(api);
  } finally {
    api.close();
  }
}
