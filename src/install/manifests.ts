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

/** The objects of an install by when they are applied: each stage needs the one before. */
export interface Stages {
  readonly namespace: Manifest;
  /** Independent of each other. */
  readonly foundation: readonly Manifest[];
  readonly workload: Manifest;
}

/** Returns the objects of an install. */
export function createStages(options: ManifestOptions): Stages {
  const { namespace, settings, version } = options;
  return {
    namespace: namespaceObject(namespace, version, options.adopted ?? false),
    foundation: [
      sessionDefinition(version),
      priorityObject(version),
      ...managerRights(namespace, settings, version),
      ...userRights(namespace, settings, version),
      ...policies(namespace, version),
      serviceObject(namespace, version),
    ],
    workload: statefulSetObject(namespace, settings, version),
  };
}

/** Returns the same objects as one list, in order. */
export function createManifests(options: ManifestOptions): Manifest[] {
  const { namespace, foundation, workload } = createStages(options);
  return [namespace, ...foundation, workload];
}

function managerRights(namespace: string, settings: Settings, version: string): Manifest[] {
  const roles = [
    managerRole(namespace, version),
    ...settings.onlyNamespaces.map((name) => managerNamespaceRole(name, version)),
  ];
  return [
    managerAccountObject(namespace, version),
    managerClusterRole(settings, version),
    managerClusterBinding(namespace, version),
    ...roles.flatMap((role) => [role, managerBinding(role, namespace, version)]),
  ];
}

function userRights(namespace: string, settings: Settings, version: string): Manifest[] {
  return [connectRole(namespace, version), connectBinding(namespace, settings, version), viewRole(version)];
}

function policies(namespace: string, version: string): Manifest[] {
  return [
    sessionPolicy(namespace, version),
    policyBinding(SESSION_POLICY, version),
    statusPolicy(namespace, version),
    policyBinding(STATUS_POLICY, version),
  ];
}

/** Returns whether an object carries the label of an install. */
export function isLabelled(object: Manifest): boolean {
  return object.metadata?.labels?.[INSTALL_LABEL] === INSTALL_LABEL_VALUE;
}
