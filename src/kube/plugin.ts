/**
 * Credential plugins (`exec` of a kubeconfig user), versions v1 and v1beta1: run as the invoker, with the invoker's
 * environment and no terminal; what they give is kept until shortly before its end.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
 */
import { CzError, hasCode, messageOf } from '../base/errors.js';
import type { Invoker } from '../base/invoker.js';
import { execAs } from '../base/run-as.js';
import { bearer, type Credential, type Credentials } from './credentials.js';
import { fields, flag, listOf, optionalFields, optionalText, textList, type Fields } from './shape.js';

/** A plugin as the kubeconfig describes it. */
export interface Plugin {
  readonly apiVersion: string;
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly installHint: string | undefined;
  /** Set when the plugin wants to know the cluster: the `spec.cluster` that it is told. */
  readonly cluster: Fields | undefined;
}

/** A plugin that asks a browser or a hardware key takes its time (our choice). */
const PLUGIN_TIMEOUT_MS = 60_000;
/** Renewed this long before the end, so that no request carries what ends under way (our choice). */
const EARLY_MS = 30_000;
/** What is quoted of a plugin's stderr, in characters. */
const QUOTED = 1_000;
const ANY_EXIT = Array.from({ length: 256 }, (_, code) => code);

/**
 * Returns the plugin of an `exec` field. `resolvePath` makes a relative path absolute.
 * @throws TypeError for a field of a wrong type or a version that is not spoken
 */
export function parsePlugin(exec: Fields, resolvePath: (path: string) => string, cluster: Fields): Plugin {
  const apiVersion = optionalText(exec, 'apiVersion') ?? '';
  if (!/^client\.authentication\.k8s\.io\/v1(?:beta1)?$/.test(apiVersion))
    throw new TypeError(`exec apiVersion "${apiVersion}" is not spoken; v1 and v1beta1 are`);
  if (optionalText(exec, 'interactiveMode') === 'Always')
    throw new TypeError('the exec plugin has interactiveMode "Always", and the daemon has no terminal');
  const command = optionalText(exec, 'command') ?? '';
  if (command === '') throw new TypeError('exec has no command');
  const program = command.includes('/') ? resolvePath(command) : command;
  const pairs = listOf(exec, 'env').map((item) => fields(item, 'env'));
  return {
    apiVersion,
    argv: [program, ...textList(exec, 'args')],
    env: Object.fromEntries(
      pairs.map((p) => [optionalText(p, 'name') ?? '', optionalText(p, 'value') ?? '']),
    ),
    installHint: optionalText(exec, 'installHint'),
    cluster: flag(exec, 'provideClusterInfo') ? cluster : undefined,
  };
}

/** Returns the credentials that a plugin gives. It is run when they are first asked for. */
export function pluginCredentials(
  invoker: Invoker,
  plugin: Plugin,
  timeoutMs = PLUGIN_TIMEOUT_MS,
): Credentials {
  let held: Given | undefined;
  let running: Promise<Given> | undefined;
  const ask = (): Promise<Given> => {
    running ??= runPlugin(invoker, plugin, timeoutMs)
      .then((given) => (held = sameIdentity(held, given)))
      .finally(() => (running = undefined));
    return running;
  };
  const fresh = (given: Given) => given.endsAt === undefined || given.endsAt - EARLY_MS > Date.now();
  return {
    async current() {
      return (held !== undefined && fresh(held) ? held : await ask()).credential;
    },
    async renew(rejected) {
      if (held !== undefined && held.credential !== rejected) return true;
      return (await ask()).credential !== rejected;
    },
  };
}

interface Given {
  readonly credential: Credential;
  /** ms since 1970; undefined: until the API server refuses it. */
  readonly endsAt: number | undefined;
}

/** Keeps the identity object of before when the plugin gave the same certificate again: connections go on. */
function sameIdentity(before: Given | undefined, given: Given): Given {
  const [old, now] = [before?.credential.identity, given.credential.identity];
  if (old === undefined || old.cert !== now?.cert || old.key !== now.key) return given;
  return { ...given, credential: { ...given.credential, identity: old } };
}

async function runPlugin(invoker: Invoker, plugin: Plugin, timeoutMs: number): Promise<Given> {
  const name = plugin.argv[0];
  const told = { spec: { ...(plugin.cluster && { cluster: plugin.cluster }), interactive: false } };
  const info = JSON.stringify({ kind: 'ExecCredential', apiVersion: plugin.apiVersion, ...told });
  const env = { ...invoker.env, ...plugin.env, KUBERNETES_EXEC_INFO: info };
  const ended = await execAs({ ...invoker, env }, plugin.argv, { timeoutMs, okCodes: ANY_EXIT }).catch(
    (cause: unknown) => {
      if (hasCode(cause, 'TIMED_OUT'))
        throw failed(name, `gave no answer within ${timeoutMs / 1000} s`, plugin);
      throw missing(plugin, cause);
    },
  );
  if (ended.exitCode !== 0)
    throw failed(name, `exited with ${ended.exitCode}: ${ended.stderr.trim().slice(0, QUOTED)}`, plugin);
  try {
    return parseAnswer(ended.stdout, plugin.apiVersion);
  } catch (cause) {
    throw failed(name, `gave no credential: ${messageOf(cause)}`, plugin);
  }
}

/** Returns what a plugin printed. @throws TypeError, SyntaxError */
function parseAnswer(text: string, apiVersion: string): Given {
  const answer = fields(parseJson(text), 'its output');
  if (answer['kind'] !== 'ExecCredential' || answer['apiVersion'] !== apiVersion)
    throw new TypeError(`its output is no ExecCredential of ${apiVersion}`);
  const status = optionalFields(answer, 'status') ?? {};
  const token = optionalText(status, 'token');
  const [cert, key] = ['clientCertificateData', 'clientKeyData'].map((name) => optionalText(status, name));
  if (!token && !(cert && key)) throw new TypeError('its status has neither token nor certificate with key');
  const end = optionalText(status, 'expirationTimestamp');
  const endsAt = end === undefined ? undefined : Date.parse(end);
  if (Number.isNaN(endsAt)) throw new TypeError('its expirationTimestamp is no time');
  const identity = cert && key ? { cert, key } : undefined;
  return { credential: { headers: token ? bearer(token) : {}, identity }, endsAt };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SyntaxError(text.trim() === '' ? 'it printed nothing' : 'it printed no JSON');
  }
}

function missing(plugin: Plugin, cause: unknown): CzError {
  const name = plugin.argv[0];
  if (!hasCode(cause, 'EXEC_MISSING')) return failed(name, messageOf(cause), plugin);
  return new CzError('PLUGIN_FAILED', `the credential plugin "${name}" is not there`, {
    cause,
    hint: plugin.installHint?.trim() || `install it, or put it on the PATH of the shell that calls cz`,
  });
}

function failed(name: string, how: string, plugin: Plugin): CzError {
  const typed = plugin.argv.join(' ').slice(0, 200);
  return new CzError('PLUGIN_FAILED', `the credential plugin "${name}" ${how}`, {
    hint: `it must work without a terminal: ${typed}`,
  });
}
