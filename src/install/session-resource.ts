/**
 * The Session custom resource: who is connected, with which key. All of its spec is immutable, every string is
 * bounded, and only the status changes, by the manager. Pure.
 */
import { GROUP, GROUP_VERSION, labelsOf } from './identity.js';
import { because, explain } from './reasons.js';

/** The part of OpenAPI that the API server enforces and that this schema uses. */
interface Schema {
  readonly type: 'object' | 'string';
  readonly description?: string;
  readonly format?: 'date-time';
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly enum?: readonly string[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message: string }[];
}

/** Base64 of exactly 32 bytes (RFC 4648 §4): an Ed25519 public key (RFC 8032 §5.1.5). */
const KEY = { type: 'string', pattern: '^[A-Za-z0-9+/]{43}=$', maxLength: 44 } as const;
/** Kubernetes sets no limit to a user name; identity providers' stay below this (our choice). */
const USER_LIMIT = 1024;
/** RFC 1035 §2.3.4. */
const HOST_LIMIT = 253;
const SOFTWARE_LIMIT = 64;
/** The longest text form of an IP address (RFC 4291 §2.2, with an embedded IPv4 address). */
const ADDRESS_LIMIT = 45;

/** Returns the CustomResourceDefinition `sessions.cz.dev`. */
export function sessionDefinition(version: string) {
  return because(
    'Who is connected: a laptop creates one with its user’s own credential, so RBAC, admission and audit decide and record.',
    {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: `sessions.${GROUP}`, labels: labelsOf(version) },
      spec: {
        group: GROUP,
        scope: 'Namespaced',
        names: { plural: 'sessions', singular: 'session', kind: 'Session', listKind: 'SessionList' },
        versions: [sessionVersion()],
      },
    },
  );
}

function sessionVersion() {
  return explain(
    {
      name: GROUP_VERSION,
      served: true,
      storage: true,
      subresources: { status: {} },
      additionalPrinterColumns: columns(),
      schema: { openAPIV3Schema: sessionSchema() },
    },
    { subresources: 'The status is a right of its own: the manager writes it, and no user does.' },
  );
}

function columns() {
  return [
    { name: 'User', type: 'string', jsonPath: '.spec.user' },
    { name: 'State', type: 'string', jsonPath: '.status.phase' },
    { name: 'Pod', type: 'string', jsonPath: '.status.pod' },
    { name: 'Since', type: 'date', jsonPath: '.status.connectedSince' },
    { name: 'Version', type: 'string', jsonPath: '.spec.software' },
    { name: 'Host', type: 'string', jsonPath: '.spec.host', priority: 1 },
    { name: 'Address', type: 'string', jsonPath: '.status.address', priority: 1 },
  ];
}

function sessionSchema(): Schema {
  return {
    type: 'object',
    description: 'One laptop’s stay at the manager. Deleting it ends the session.',
    required: ['spec'],
    properties: { spec: specSchema(), status: statusSchema() },
  };
}

function specSchema(): Schema {
  return explain(
    {
      type: 'object',
      required: ['user', 'publicKey', 'software'],
      properties: {
        user: { ...text(USER_LIMIT), description: 'User name at the API server of whoever created it.' },
        publicKey: { ...KEY, description: 'Ed25519 public key of the daemon, base64.' },
        software: { ...text(SOFTWARE_LIMIT), description: 'Version of cz on the laptop.' },
        host: { ...text(HOST_LIMIT), description: 'Name of the laptop, for people.' },
      },
      'x-kubernetes-validations': [
        { rule: 'self == oldSelf', message: 'the spec of a Session cannot be changed' },
      ],
    },
    {
      'x-kubernetes-validations':
        'The key proves who owns the session: nobody may swap it later, whatever rights they have.',
    },
  );
}

function statusSchema(): Schema {
  return {
    type: 'object',
    properties: {
      phase: { type: 'string', enum: ['Connected', 'Away'], maxLength: 16 },
      managerKey: { ...KEY, description: 'Ed25519 public key of the manager pod that serves it, base64.' },
      pod: text(HOST_LIMIT),
      podIP: text(ADDRESS_LIMIT),
      address: { ...text(ADDRESS_LIMIT), description: 'The laptop’s address in the tunnel.' },
      connectedSince: { type: 'string', format: 'date-time', maxLength: 40 },
      lastSeen: { type: 'string', format: 'date-time', maxLength: 40 },
    },
  };
}

function text(maxLength: number): Schema {
  return { type: 'string', minLength: 1, maxLength };
}
