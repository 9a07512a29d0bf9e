/**
 * The cluster's certificate authority, its certificates and kubeconfigs, by openssl. All keys are made anew with each
 * cluster. User kubeconfigs name the address that laptops reach; those of the cluster's own programs the inner one.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { exec } from '../../../src/base/exec.js';
import {
  API_ADDRESS,
  API_PORT,
  API_URL,
  CLUSTER_DOMAIN,
  CONTROL_ADDRESS,
  inCluster,
  NODES,
} from './settings.js';

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'];
const DAYS = ['-days', '365'];
const INNER_URL = `https://${CONTROL_ADDRESS}:${API_PORT}`;

interface Subject {
  readonly name: string;
  readonly groups?: readonly string[];
}

/** Returns the path of a file of the authority (`ca.crt`, `apiserver.key`). */
export function pki(file: string): string {
  return inCluster('pki', file);
}

/** Makes the authorities, all certificates and the kubeconfigs of the cluster's programs and of its admin. */
export async function makeCertificates(): Promise<void> {
  await mkdir(inCluster('pki'), { recursive: true, mode: 0o700 });
  await mkdir(inCluster('users'), { recursive: true });
  const serviceAccounts = ['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'];
  await Promise.all([
    authority('ca', 'cz-cluster'),
    authority('front-proxy-ca', 'cz-front-proxy'),
    openssl([...serviceAccounts, '-out', pki('service-accounts.key')]),
  ]);
  await openssl(['pkey', '-in', pki('service-accounts.key'), '-pubout', '-out', pki('service-accounts.pub')]);
  await Promise.all([...servers(), ...clients()]);
}

/** Makes a kubeconfig for a user with these groups and returns its path. Whoever may read the folder may be this user. */
export async function makeUser(name: string, groups: readonly string[]): Promise<string> {
  const file = `user-${encodeURIComponent(name)}`;
  await client(file, { name, groups });
  return kubeconfig(inCluster('users', `${encodeURIComponent(name)}.kubeconfig`), API_URL, file, name);
}

function servers(): Promise<unknown>[] {
  const apiNames = ['', '.default', '.default.svc', `.default.svc.${CLUSTER_DOMAIN}`];
  const api = [
    ...['localhost', ...apiNames.map((suffix) => `kubernetes${suffix}`)].map((name) => `DNS:${name}`),
    ...['127.0.0.1', CONTROL_ADDRESS, API_ADDRESS, '10.96.0.1'].map((address) => `IP:${address}`),
  ];
  return [
    server('apiserver', 'kube-apiserver', api),
    ...NODES.map((node) =>
      server(`kubelet-${node.name}`, `system:node:${node.name}`, [`IP:${node.address}`, `DNS:${node.name}`]),
    ),
  ];
}

function clients(): Promise<unknown>[] {
  return [
    component('controller-manager', { name: 'system:kube-controller-manager' }),
    component('scheduler', { name: 'system:kube-scheduler' }),
    component('proxy', { name: 'system:kube-proxy' }),
    ...NODES.map((node) =>
      component(node.name, { name: `system:node:${node.name}`, groups: ['system:nodes'] }),
    ),
    client('apiserver-kubelet', { name: 'kube-apiserver', groups: ['system:masters'] }),
    client('front-proxy', { name: 'front-proxy-client' }, 'front-proxy-ca'),
    admin(),
  ];
}

async function admin(): Promise<void> {
  await client('admin', { name: 'kubernetes-admin', groups: ['system:masters'] });
  await kubeconfig(inCluster('kubeconfig'), API_URL, 'admin', 'kubernetes-admin');
}

async function component(file: string, subject: Subject): Promise<void> {
  await client(file, subject);
  await kubeconfig(pki(`${file}.kubeconfig`), INNER_URL, file, file);
}

async function authority(file: string, name: string): Promise<void> {
  const uses = [
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  ];
  const out = ['-keyout', pki(`${file}.key`), '-out', pki(`${file}.crt`)];
  await openssl(['req', '-x509', ...EC_KEY, ...DAYS, '-subj', `/CN=${name}`, ...uses, ...out]);
}

async function server(file: string, name: string, addresses: readonly string[]): Promise<void> {
  await leaf(file, { name }, 'ca', ['extendedKeyUsage=serverAuth', `subjectAltName=${addresses.join(',')}`]);
}

async function client(file: string, subject: Subject, ca = 'ca'): Promise<void> {
  await leaf(file, subject, ca, ['extendedKeyUsage=clientAuth']);
}

async function leaf(file: string, subject: Subject, ca: string, uses: readonly string[]): Promise<void> {
  const signer = ['-CA', pki(`${ca}.crt`), '-CAkey', pki(`${ca}.key`)];
  const all = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature', ...uses];
  const extensions = all.flatMap((use) => ['-addext', use]);
  const out = ['-keyout', pki(`${file}.key`), '-out', pki(`${file}.crt`)];
  await openssl([
    'req',
    '-x509',
    ...EC_KEY,
    ...DAYS,
    ...signer,
    '-subj',
    subjectOf(subject),
    ...extensions,
    ...out,
  ]);
}

/** openssl-req(1) -subj: parts begin with a slash, special characters are escaped by a backslash. */
function subjectOf({ name, groups = [] }: Subject): string {
  const escaped = (text: string) => text.replace(/[\\/+=]/g, String.raw`\$&`);
  return [...groups.map((group) => `/O=${escaped(group)}`), `/CN=${escaped(name)}`].join('');
}

async function openssl(args: readonly string[]): Promise<void> {
  await exec(['openssl', ...args]);
}

async function kubeconfig(path: string, url: string, file: string, user: string): Promise<string> {
  const data = async (name: string) => (await readFile(pki(name))).toString('base64');
  const text = `apiVersion: v1
kind: Config
clusters:
  - name: cz-cluster
    cluster:
      server: ${url}
      certificate-authority-data: ${await data('ca.crt')}
users:
  - name: ${JSON.stringify(user)}
    user:
      client-certificate-data: ${await data(`${file}.crt`)}
      client-key-data: ${await data(`${file}.key`)}
contexts:
  - name: cz-cluster
    context:
      cluster: cz-cluster
      user: ${JSON.stringify(user)}
current-context: cz-cluster
`;
  await writeFile(path, text, { mode: 0o644 });
  return path;
}
