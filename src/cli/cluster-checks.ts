/**
 * What `cz doctor` looks at in the cluster, as the user: the kubeconfig, the API server, the manager, the rights that
 * connecting needs. Each check needs the one before.
 */
import { CzError, hasCode, messageOf } from '../base/errors.js';
import type { Invoker } from '../base/invoker.js';
import type { Finding } from '../control/schema.js';
import { MANAGER_PORT, VERSION_LABEL, managerPods } from '../install/identity.js';
import { loadAccess, type ClusterAccess } from '../kube/access.js';
import { openApi, type KubeApi } from '../kube/api.js';
import { apiPath } from '../kube/path.js';
import { whoAmI } from '../kube/session.js';
import type { Look } from './checks.js';

/** An API server that answers does so at once; unreachable is said within 5 s. */
const CALL = { timeoutMs: 5000 };

export interface ClusterQuestion {
  readonly invoker: Invoker;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly managerNamespace: string;
}

/** Returns the findings; after the first failure the rest is skipped. Never rejects. */
export async function checkCluster(question: ClusterQuestion): Promise<Finding[]> {
  const findings: Finding[] = [];
  const add = (check: string, look: Look) => findings.push({ check, ...look });
  let step = 'kubeconfig';
  let api: KubeApi | undefined;
  try {
    const access = await loadAccess(accessOptions(question));
    add(step, { state: 'ok', found: describeAccess(access) });
    api = openApi(access);
    step = 'cluster';
    const user = await whoAmI(api, { signal: AbortSignal.timeout(CALL.timeoutMs) });
    add(step, { state: 'ok', found: `${access.server.href} answers, to the user "${user}"` });
    step = 'manager';
    add(step, await checkManager(api, question.managerNamespace));
    step = 'rights';
    add(step, await checkRights(api, question.managerNamespace, user));
  } catch (error) {
    add(step, failedLook(error));
  } finally {
    api?.close();
  }
  return findings;
}

function accessOptions({ invoker, kubeconfig, context }: ClusterQuestion) {
  return {
    invoker,
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
  };
}

function describeAccess({ context, namespace, proxy }: ClusterAccess): string {
  return `context "${context}", namespace "${namespace}"${proxy === undefined ? '' : `, by the proxy ${proxy.host}`}`;
}

function failedLook(error: unknown): Look {
  const next = error instanceof CzError ? error.hint : undefined;
  return { state: 'failed', found: messageOf(error), ...(next === undefined ? {} : { next }) };
}

/** The resource type says whether it is installed, its health endpoint whether it serves. */
async function checkManager(api: KubeApi, namespace: string): Promise<Look> {
  const next = `cz install${namespace === 'cz-system' ? '' : ` --manager-namespace ${namespace}`}`;
  try {
    await api.get(apiPath`/apis/cz.dev/v1`, CALL);
  } catch (error) {
    if (!hasCode(error, 'NOT_FOUND')) throw error;
    return { state: 'failed', found: 'no traffic manager in this cluster', next };
  }
  const [pod = ''] = managerPods();
  try {
    const path = apiPath`/api/v1/namespaces/${namespace}/pods/${`${pod}:${MANAGER_PORT}`}/proxy/healthz`;
    await api.getText(path, CALL);
    return { state: 'ok', found: `${namespace}/${pod} serves` };
  } catch (error) {
    const found = hasCode(error, 'NOT_FOUND') ? `no pod "${pod}" in "${namespace}"` : messageOf(error);
    return { state: 'failed', found, next };
  }
}

interface Right {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string;
}

/** What connecting asks for, in the manager's namespace. */
const RIGHTS: readonly Right[] = [
  ...['create', 'get', 'list', 'watch'].map((verb) => ({ verb, group: 'cz.dev', resource: 'sessions' })),
  {
    verb: 'get',
    group: '',
    resource: 'pods',
    subresource: 'proxy',
    name: `${managerPods()[0] ?? ''}:${MANAGER_PORT}`,
  },
];

interface Review {
  readonly status?: { readonly allowed?: unknown };
}

async function checkRights(api: KubeApi, namespace: string, user: string): Promise<Look> {
  const answers = await Promise.all(RIGHTS.map((right) => isAllowed(api, namespace, right)));
  const missing = RIGHTS.filter((_, index) => answers[index] !== true).map(describeRight);
  if (missing.length === 0) return { state: 'ok', found: 'to connect' };
  const found = `"${user}" may not ${missing.join(', ')} in "${namespace}"`;
  return { state: 'failed', found, next: 'ask an administrator for: cz install --allow-group GROUP' };
}

async function isAllowed(api: KubeApi, namespace: string, right: Right): Promise<boolean> {
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes: { namespace, ...right } },
  };
  const path = apiPath`/apis/authorization.k8s.io/v1/selfsubjectaccessreviews`;
  return (await api.create<Review>(path, review, CALL)).status?.allowed === true;
}

function describeRight({ verb, resource, subresource }: Right): string {
  return `${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}`;
}

/**
 * Returns the version of the manager that is installed, undefined where there is none.
 * @throws NOT_PERMITTED the user may not look · the codes of kube/
 */
export async function readManagerVersion(question: ClusterQuestion): Promise<string | undefined> {
  const api = openApi(await loadAccess(accessOptions(question)));
  try {
    const path = apiPath`/apis/apps/v1/namespaces/${question.managerNamespace}/statefulsets/cz-manager`;
    const found = await api.get<{ metadata?: { labels?: Record<string, string> } }>(path, CALL);
    return found.metadata?.labels?.[VERSION_LABEL];
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  } finally {
    api.close();
  }
}

/** Returns the last lines of a manager pod's log. Needs the right to get pods/log. */
export async function readManagerLog(
  question: ClusterQuestion,
  pod: string,
  tailLines: number,
): Promise<string> {
  const api = openApi(await loadAccess(accessOptions(question)));
  try {
    const path = apiPath`/api/v1/namespaces/${question.managerNamespace}/pods/${pod}/log`;
    return await api.getText(path, { ...CALL, query: { tailLines: String(tailLines) } });
  } finally {
    api.close();
  }
}
