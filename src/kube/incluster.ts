/**
 * The access that a pod has by its own service account: its token (renewed by the kubelet in the same file), the
 * cluster's authority and the API server's address.
 * https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
 */
import { readFile } from 'node:fs/promises';
import { CzError, messageOf } from '../base/errors.js';
import type { ClusterAccess } from './access.js';
import { tokenFileCredentials } from './credentials.js';

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Returns the access of the pod's own service account. `env` is the process's environment; `folder` is for tests.
 * @throws KUBECONFIG_MISSING this is no pod
 */
export async function inClusterAccess(
  env: Readonly<Record<string, string | undefined>>,
  folder = ACCOUNT,
): Promise<ClusterAccess> {
  const [host, port = '443'] = [env['KUBERNETES_SERVICE_HOST'], env['KUBERNETES_SERVICE_PORT']];
  const read = (name: string) => readFile(`${folder}/${name}`, 'utf8');
  try {
    if (!host) throw new TypeError('KUBERNETES_SERVICE_HOST is not set');
    const server = new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`);
    const [ca, namespace] = await Promise.all([read('ca.crt'), read('namespace')]);
    const credentials = tokenFileCredentials(() => read('token'), undefined);
    await credentials.current();
    const tls = { ca, serverName: undefined, insecure: false };
    return {
      context: 'in-cluster',
      namespace: namespace.trim(),
      server,
      tls,
      proxy: undefined,
      proxyFor: () => undefined,
      credentials,
    };
  } catch (cause) {
    throw new CzError('KUBECONFIG_MISSING', `no service account in this pod: ${messageOf(cause)}`, { cause });
  }
}
