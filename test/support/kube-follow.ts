/**
 * Runs on a laptop (kube.test.ts of the cluster suites): follows the ConfigMaps of a namespace and prints each change, and
 * each trouble, as a line. Usage: kube-follow.ts KUBECONFIG NAMESPACE
 */
import { loadAccess } from '../../src/kube/access.js';
import { openApi } from '../../src/kube/api.js';
import { apiPath } from '../../src/kube/path.js';
import { someone } from './invoker.js';

const [, , kubeconfig = '', namespace = ''] = process.argv;
const api = openApi(await loadAccess({ invoker: someone(), kubeconfig }));
const watch = api.watch<{ metadata: { name: string } }>(apiPath`/api/v1/namespaces/${namespace}/configmaps`, {
  onEvent: ({ type, object }) => console.log(`${type} ${object.metadata.name}`),
  onError: ({ code, message }) => console.log(`trouble ${code} ${message}`),
});
await watch.ready();
console.log('ready');
