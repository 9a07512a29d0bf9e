/**
 * Runs on a laptop (kube.test.ts of the cluster suites): calls the real API server and prints what came back, a line of
 * JSON a call. Usage: kube-calls.ts KUBECONFIG NAMESPACE
 */
import { CzError } from '../../src/base/errors.js';
import { loadAccess } from '../../src/kube/access.js';
import { openApi } from '../../src/kube/api.js';
import { apiPath } from '../../src/kube/path.js';
import { reviewSelf } from '../../src/kube/session.js';
import { someone } from './invoker.js';

interface ConfigMap {
  readonly metadata: {
    readonly uid: string;
    readonly managedFields?: readonly { readonly manager: string }[];
  };
  readonly data?: Readonly<Record<string, string>>;
}

const [, , kubeconfig = '', namespace = ''] = process.argv;
const api = openApi(await loadAccess({ invoker: someone(), kubeconfig }));
const maps = apiPath`/api/v1/namespaces/${namespace}/configmaps`;
const map = `${maps}/calls`;
const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'calls' } };

async function say(name: string, call: () => Promise<unknown>): Promise<void> {
  const said = await call().then(
    (value) => ({ value }),
    (error: unknown) =>
      error instanceof CzError ? { code: error.code, message: error.message } : { thrown: String(error) },
  );
  console.log(JSON.stringify({ name, ...said }));
}

const dataOf = ({ data }: ConfigMap) => data ?? {};

await say('who', () => reviewSelf(api));
await say('create', async () => dataOf(await api.create(maps, { ...body, data: { a: '1' } })));
await say('create again', () => api.create(maps, body));
await say('merge', async () => dataOf(await api.patch(map, { data: { b: '2' } }, 'merge')));
await say('json', async () => dataOf(await api.patch(map, [{ op: 'remove', path: '/data/a' }], 'json')));
await say('apply', async () => {
  const options = { fieldManager: 'cz', force: true };
  const { metadata } = await api.patch<ConfigMap>(map, { ...body, data: { c: '3' } }, 'apply', options);
  return metadata.managedFields?.some(({ manager }) => manager === 'cz');
});
await say('get', async () => dataOf(await api.get(map)));
await say('remove another', () => api.remove(map, { uid: '00000000-0000-0000-0000-000000000000' }));
await say('remove', async () => api.remove(map, { uid: (await api.get<ConfigMap>(map)).metadata.uid }));
await say('get removed', () => api.get(map));
await say('invalid', () => api.create(maps, { ...body, metadata: { name: 'Not A Name' } }));
await say('dial', async () => {
  const dial = api.dial('/version');
  (await dial.createConnection()).destroy();
  return dial.remoteAddresses();
});
api.close();
