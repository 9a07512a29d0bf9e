/**
 * From kubeconfig, or from inside a pod, to all that is needed to talk to one cluster: server, TLS, proxy, credentials.
 * Files are read and plugins run as the invoker.
 */
import { CzError, messageOf } from '../base/errors.js';
import type { Invoker } from '../base/invoker.js';
import { readFileAs } from '../base/run-as.js';
import { inClusterAccess } from './incluster.js';
import {
  basic,
  bearer,
  fixedCredentials,
  headerSafe,
  tokenFileCredentials,
  withHeaders,
  type Credentials,
  type RequestHeaders,
  type TlsIdentity,
} from './credentials.js';
import {
  invalidFile,
  pathIn,
  readKubeconfig,
  selectContext,
  textsIn,
  type Entry,
  type Selected,
} from './kubeconfig.js';
import { parsePlugin, pluginCredentials } from './plugin.js';
import { chooseProxy } from './proxy.js';
import { flag, optionalFields, optionalText, textList, type Fields } from './shape.js';

/** How to reach one cluster as one user. */
export interface ClusterAccess {
  /** The context's name; `in-cluster` inside a pod. */
  readonly context: string;
  /** The context's namespace, `default` where it names none; inside a pod its own. */
  readonly namespace: string;
  readonly server: URL;
  readonly tls: {
    /** PEM; undefined: the public authorities. */
    readonly ca: string | undefined;
    /** Checked instead of the server's host. */
    readonly serverName: string | undefined;
    readonly insecure: boolean;
  };
  readonly proxy: URL | undefined;
  /** Returns the proxy that the invoker's environment names for another place (`--manager-url`). */
  proxyFor(url: URL): URL | undefined;
  readonly credentials: Credentials;
}

export interface AccessOptions {
  readonly invoker: Invoker;
  /** `--kubeconfig`: this file alone. */
  readonly kubeconfig?: string;
  /** `--context`; default: the current one. */
  readonly context?: string;
}

/**
 * Returns the access that the invoker's kubeconfig gives; inside a pod without a kubeconfig, the pod's own.
 * Talks to nobody and runs no plugin yet.
 * @throws KUBECONFIG_MISSING, KUBECONFIG_UNREADABLE, KUBECONFIG_INVALID, CONTEXT_UNKNOWN, PROXY_UNSUPPORTED
 */
export async function loadAccess(options: AccessOptions): Promise<ClusterAccess> {
  const { invoker } = options;
  const config = await readKubeconfig(invoker, options.kubeconfig);
  if (config !== undefined) return fromContext(invoker, selectContext(config, options.context));
  if (invoker.env['KUBERNETES_SERVICE_HOST']) return inClusterAccess(invoker.env);
  throw new CzError('KUBECONFIG_MISSING', `no kubeconfig: "${invoker.home}/.kube/config" does not exist`, {
    hint: 'name it with --kubeconfig FILE, or set KUBECONFIG',
  });
}

async function fromContext(invoker: Invoker, selected: Selected): Promise<ClusterAccess> {
  const { cluster, user } = selected;
  const server = within(cluster, () => serverOf(cluster.fields));
  const [ca, credentials] = await Promise.all([
    material(invoker, cluster, 'certificate-authority'),
    credentialsOf(invoker, selected, server),
  ]);
  const serverName = within(cluster, () => optionalText(cluster.fields, 'tls-server-name')) || undefined;
  return {
    context: selected.context,
    namespace: selected.namespace,
    server,
    tls: {
      ca,
      serverName,
      insecure: within(cluster, () => flag(cluster.fields, 'insecure-skip-tls-verify')),
    },
    proxy: chooseProxy(
      server,
      within(cluster, () => optionalText(cluster.fields, 'proxy-url')),
      invoker.env,
    ),
    proxyFor: (url) => chooseProxy(url, undefined, invoker.env),
    credentials: impersonating(credentials, user),
  };
}

function serverOf(cluster: Fields): URL {
  const text = optionalText(cluster, 'server') ?? '';
  if (!URL.canParse(text)) throw new TypeError(`server "${text}" is no URL`);
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new TypeError(`server "${text}" is no http URL`);
  return url;
}

async function credentialsOf(invoker: Invoker, selected: Selected, server: URL): Promise<Credentials> {
  const { user } = selected;
  const of = (key: string) => within(user, () => optionalText(user.fields, key)) || undefined;
  const identity = await identityOf(invoker, user);
  if (user.fields['auth-provider'] !== undefined && user.fields['exec'] === undefined)
    throw oldProvider(selected);
  const [token, tokenFile] = [of('token'), of('tokenFile')];
  if (tokenFile !== undefined)
    return tokenFileCredentials(() => readReferenced(invoker, user, tokenFile), identity);
  if (token !== undefined) return fixedCredentials({ headers: bearer(token), identity });
  const [username, password] = [of('username'), of('password')];
  if (username !== undefined) return fixedCredentials({ headers: basic(username, password ?? ''), identity });
  const exec = within(user, () => optionalFields(user.fields, 'exec'));
  if (exec === undefined || identity !== undefined) return fixedCredentials({ headers: {}, identity });
  const told = await clusterInfo(invoker, selected.cluster, server);
  const plugin = within(user, () => parsePlugin(exec, (path) => pathIn(user, path), told));
  return pluginCredentials(invoker, plugin);
}

async function identityOf(invoker: Invoker, user: Entry): Promise<TlsIdentity | undefined> {
  const [cert, key] = await Promise.all([
    material(invoker, user, 'client-certificate'),
    material(invoker, user, 'client-key'),
  ]);
  if (cert === undefined && key === undefined) return undefined;
  if (cert !== undefined && key !== undefined) return { cert, key };
  throw invalidFile(user.file, 'a user has a client certificate or a client key, but not both');
}

/** Returns what a plugin with `provideClusterInfo` is told. */
async function clusterInfo(invoker: Invoker, cluster: Entry, server: URL): Promise<Fields> {
  const ca = await material(invoker, cluster, 'certificate-authority');
  const of = (key: string) => cluster.fields[key];
  const extensions = Array.isArray(of('extensions')) ? of('extensions') : [];
  const config: unknown = Array.isArray(extensions)
    ? extensions.find((item: Fields) => item?.['name'] === 'client.authentication.k8s.io/exec')?.extension
    : undefined;
  return {
    server: server.href.replace(/\/$/, ''),
    ...(ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
    ...pickDefined(cluster.fields, ['tls-server-name', 'insecure-skip-tls-verify', 'proxy-url']),
    ...(config === undefined ? {} : { config }),
  };
}

function pickDefined(of: Fields, keys: readonly string[]): Fields {
  return Object.fromEntries(keys.flatMap((key) => (of[key] === undefined ? [] : [[key, of[key]]])));
}

/** Returns PEM text of `NAME-data` (base64), else of the file `NAME`; undefined without both. */
async function material(invoker: Invoker, entry: Entry, name: string): Promise<string | undefined> {
  const data = within(entry, () => optionalText(entry.fields, `${name}-data`));
  if (data) return within(entry, () => decodePem(data, `${name}-data`));
  const path = within(entry, () => optionalText(entry.fields, name));
  return path ? readReferenced(invoker, entry, path) : undefined;
}

function decodePem(data: string, what: string): string {
  const text = Buffer.from(data, 'base64').toString('latin1');
  if (!text.includes('-----BEGIN ')) throw new TypeError(`"${what}" is no base64 of a PEM block`);
  return text;
}

async function readReferenced(invoker: Invoker, entry: Entry, path: string): Promise<string> {
  try {
    return (await readFileAs(invoker, pathIn(entry, path))).toString('utf8');
  } catch (cause) {
    throw new CzError('KUBECONFIG_UNREADABLE', `kubeconfig "${entry.file}": ${messageOf(cause)}`, { cause });
  }
}

/** Headers by which the user acts as somebody else. kubernetes.io, Authenticating, User impersonation */
function impersonating(credentials: Credentials, user: Entry): Credentials {
  const headers = within(user, () => {
    const of = (key: string) => headerSafe(optionalText(user.fields, key) ?? '', key);
    const extra = Object.keys(optionalFields(user.fields, 'as-user-extra') ?? {}).map((key) => [
      `impersonate-extra-${encodeURIComponent(key).toLowerCase()}`,
      textList(optionalFields(user.fields, 'as-user-extra') ?? {}, key).map((value) =>
        headerSafe(value, key),
      ),
    ]);
    const groups = textsIn(user, 'as-groups').map((group) => headerSafe(group, 'as-groups'));
    const all: RequestHeaders = {
      ...(of('as') === '' ? {} : { 'impersonate-user': of('as') }),
      ...(of('as-uid') === '' ? {} : { 'impersonate-uid': of('as-uid') }),
      ...(groups.length === 0 ? {} : { 'impersonate-group': groups }),
      ...Object.fromEntries(extra),
    };
    return all;
  });
  return Object.keys(headers).length === 0 ? credentials : withHeaders(credentials, headers);
}

function oldProvider(selected: Selected): CzError {
  const provider = optionalText(optionalFields(selected.user.fields, 'auth-provider') ?? {}, 'name') ?? '';
  const what = `user "${selected.userName}" uses the auth-provider "${provider}", which Kubernetes has removed`;
  return new CzError('KUBECONFIG_INVALID', `kubeconfig "${selected.user.file}": ${what}`, {
    hint: 'write the kubeconfig anew with your provider’s tool; it puts an exec plugin there',
  });
}

/** Runs `read` and names the file in what it throws. */
function within<T>(entry: Entry, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw cause instanceof CzError ? cause : invalidFile(entry.file, cause);
  }
}
