/**
 * All objects of an install, in the order in which they are applied. Pure: the same settings give the same objects,
 * and `--print` shows just these.
 */
import { INSTALL_LABEL, INSTALL_LABEL_VALUE } from './identity.js';
import { SESSION_POLICY, STATUS_POLICY, policyBinding, sessionPolicy, statusPolicy } from './policies.js';
import {
  connectBinding,
  connectRole,
  managerAccountObject,
  managerBinding,
  managerClusterBinding,
  managerClusterRole,
  managerNamespaceRole,
  managerRole,
  viewRole,
} from './rights.js';
import { sessionDefinition } from './session-resource.js';
import type { Settings } from './settings.js';
import { namespaceObject, priorityObject, serviceObject, statefulSetObject } from './workload.js';

/** What every Kubernetes object has. */
export interface Manifest {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

/** What an install is made from. */
export interface ManifestOptions {
  readonly version: string;
  readonly namespace: string;
  readonly settings: Settings;
  /** The namespace stood before cz came. */
  readonly adopted?: boolean;
}

/** Returns the objects of an install by when they are applied: those of one stage need only the stages before. */
export function createStages(options: ManifestOptions): Manifest[][] {
  const { namespace, settings, version } = options;
  const roles = managerRoles(namespace, settings, version);
  return [
    [namespaceObject(namespace, version, options.adopted ?? false)],
    [
      sessionDefinition(version),
      priorityObject(version),
      managerAccountObject(namespace, version),
      managerClusterRole(settings, version),
      ...roles,
      connectRole(namespace, version),
      viewRole(version),
      sessionPolicy(namespace, version),
      statusPolicy(namespace, version),
      serviceObject(namespace, version),
    ],
    [
      managerClusterBinding(namespace, version),
      ...roles.map((role) => managerBinding(role, namespace, version)),
      connectBinding(namespace, settings, version),
      policyBinding(SESSION_POLICY, version),
      policyBinding(STATUS_POLICY, version),
    ],
    [statefulSetObject(namespace, settings, version)],
  ];
}

/** Returns the same objects as one list, in order. */
export function createManifests(options: ManifestOptions): Manifest[] {
  return createStages(options).flat();
}

function managerRoles(namespace: string, settings: Settings, version: string) {
  return [
    managerRole(namespace, version),
    ...settings.onlyNamespaces.map((name) => managerNamespaceRole(name, version)),
  ];
}

/** Returns whether an object carries the label of an install. */
export function isLabelled(object: Manifest): boolean {
  return object.metadata?.labels?.[INSTALL_LABEL] === INSTALL_LABEL_VALUE;
}
