/**
 * The manager's configuration: the environment that its StatefulSet gives it, read once and validated.
 */
import { CzError } from '../base/errors.js';

export interface ManagerConfig {
  readonly pod: string;
  readonly namespace: string;
  readonly podIP: string;
  readonly hostIP: string;
  readonly port: number;
  /** Targets beyond the cluster's networks that laptops may be forwarded to, as CIDRs. */
  readonly alsoRoute: readonly string[];
  /** Whether node addresses may be reached. */
  readonly nodeAddresses: boolean;
  /** The only namespaces that the manager may look at; empty: all. */
  readonly namespaces: readonly string[];
  /** How long a session whose laptop is silent is kept, in seconds. */
  readonly leaseSeconds: number;
}

/** Ten minutes: longer than a lunch-time tunnel, shorter than a forgotten laptop (DESIGN: the lease). */
const LEASE_SECONDS = 600;
const PORT = 443;

/** Returns the configuration. @throws USAGE when a variable that has no default is missing or is no number */
export function readConfig(env: NodeJS.ProcessEnv): ManagerConfig {
  return {
    pod: need(env, 'POD_NAME'),
    namespace: need(env, 'POD_NAMESPACE'),
    podIP: need(env, 'POD_IP'),
    hostIP: need(env, 'HOST_IP'),
    port: number(env, 'CZ_PORT', PORT),
    alsoRoute: list(env, 'CZ_ALSO_ROUTE'),
    namespaces: list(env, 'CZ_NAMESPACES'),
    nodeAddresses: env['CZ_NODE_ADDRESSES'] === 'allowed',
    leaseSeconds: number(env, 'CZ_LEASE_SECONDS', LEASE_SECONDS),
  };
}

function need(env: NodeJS.ProcessEnv, name: string): string {
  const value = env[name];
  if (value === undefined || value === '')
    throw new CzError('USAGE', `the environment variable "${name}" is missing`);
  return value;
}

function list(env: NodeJS.ProcessEnv, name: string): string[] {
  return (env[name] ?? '').split(',').filter((entry) => entry !== '');
}

function number(env: NodeJS.ProcessEnv, name: string, fallback: number): number {
  const text = env[name] ?? '';
  if (text === '') return fallback;
  if (!/^\d{1,9}$/.test(text)) throw new CzError('USAGE', `"${name}=${text}" is no number`);
  return Number(text);
}
