/**
 * The objects of an install: least privilege, bounds, and that what `--print` shows is what is applied.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PolicyRule } from 'kubernetes-types/rbac/v1.js';
import { parseAllDocuments } from 'yaml';
import { formatManifests } from '../../../src/install/format.js';
import { createManifests, createStages, isLabelled } from '../../../src/install/manifests.js';
import { reasonOf } from '../../../src/install/reasons.js';
import { connectRole, managerClusterRole, managerRole, viewRole } from '../../../src/install/rights.js';
import { sessionDefinition } from '../../../src/install/session-resource.js';
import { defaultSettings } from '../../../src/install/settings.js';
import { statefulSetObject } from '../../../src/install/workload.js';

const version = '1.2.3';
const settings = { ...defaultSettings(version), allowGroups: ['devs'], onlyNamespaces: ['shop', 'blog'] };
const options = { version, namespace: 'cz-system', settings };

test('what --print shows reads back as exactly the objects that are applied', () => {
  const objects = createManifests(options);
  const documents = parseAllDocuments(formatManifests(objects));
  const read = documents.map((document) => document.toJS() as unknown);
  assert.deepEqual(read, JSON.parse(JSON.stringify(objects)));
});

test('the namespace comes first and the pod last', () => {
  const kinds = createManifests(options).map((object) => object.kind);
  assert.equal(kinds[0], 'Namespace');
  assert.equal(kinds.at(-1), 'StatefulSet');
});

test('every object carries the label by which uninstall finds it', () => {
  for (const object of createManifests(options)) assert.ok(isLabelled(object), object.kind);
});

test('no object is, or mounts, a Secret', () => {
  assert.doesNotMatch(JSON.stringify(createManifests(options)), /secret/i);
});

test('each rule of each role has its reason', () => {
  const roles = [
    managerRole('cz-system', version),
    managerClusterRole(defaultSettings(version), version),
    connectRole('cz-system', version),
    viewRole(version),
  ];
  for (const { rules } of roles) {
    for (const [index, rule] of rules.entries())
      assert.ok(reasonOf(rules, String(index), rule), JSON.stringify(rule));
  }
});

test('each added capability has its reason, and all others are dropped', () => {
  const [container] = statefulSetObject('cz-system', settings, version).spec?.template.spec?.containers ?? [];
  const { add = [], drop } = container?.securityContext?.capabilities ?? {};
  assert.deepEqual(drop, ['ALL']);
  assert.deepEqual(add, ['NET_ADMIN', 'MKNOD', 'NET_BIND_SERVICE']);
  for (const [index, name] of add.entries()) assert.ok(reasonOf(add, String(index), name), name);
});

test('the container cannot gain privileges and writes nowhere', () => {
  const pod = statefulSetObject('cz-system', settings, version).spec?.template.spec;
  const security = pod?.containers[0]?.securityContext;
  assert.equal(security?.allowPrivilegeEscalation, false);
  assert.equal(security.readOnlyRootFilesystem, true);
  assert.equal(security.privileged, undefined);
  assert.equal(pod?.securityContext?.seccompProfile?.type, 'RuntimeDefault');
  assert.deepEqual([pod?.hostNetwork, pod?.hostPID, pod?.hostIPC, pod?.volumes], Array(4).fill(undefined));
});

test('no rule writes anything but Sessions, and none has a wildcard', () => {
  const rules = createManifests(options).flatMap((object) => rulesOf(object));
  assert.ok(rules.length > 8);
  for (const rule of rules) {
    assert.doesNotMatch(JSON.stringify(rule), /\*/);
    const writes = rule.verbs.filter((verb) => !['get', 'list', 'watch'].includes(verb));
    const allowed = rule.apiGroups?.[0] === 'cz.dev' || rule.resources?.[0] === 'pods/portforward';
    assert.ok(writes.length === 0 || allowed, JSON.stringify(rule));
  }
});

test('with --only-namespaces Services and pods are read in those namespaces alone', () => {
  const wide = managerClusterRole(settings, version).rules.flatMap((rule) => rule.resources ?? []);
  assert.deepEqual(wide, ['nodes', 'servicecidrs']);
  const roles = createManifests(options).filter((object) => object.metadata?.name === 'cz-manager-networks');
  assert.deepEqual(
    roles.map(({ kind, metadata }) => `${kind} ${metadata?.namespace}`),
    ['Role shop', 'Role blog', 'RoleBinding shop', 'RoleBinding blog'],
  );
});

test('a group that may connect is bound in the manager’s namespace, and without groups nobody is', () => {
  const bound = (allowGroups: string[]) =>
    createManifests({ ...options, settings: { ...settings, allowGroups } }).find(
      ({ kind, metadata }) => kind === 'RoleBinding' && metadata?.name === 'cz-connect',
    );
  assert.deepEqual(subjectsOf(bound(['devs'])), [
    { apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'devs' },
  ]);
  assert.deepEqual(subjectsOf(bound([])), []);
});

test('every string of a Session is bounded', () => {
  const schema = sessionDefinition(version).spec.versions[0]?.schema.openAPIV3Schema;
  const strings = [...stringsOf(schema)];
  assert.ok(strings.length > 9);
  for (const string of strings) assert.ok('maxLength' in string, JSON.stringify(string));
});

test('the manager’s configuration reaches its environment', () => {
  const changed = { ...settings, alsoRoute: ['192.0.2.0/24', '198.51.100.7/32'], nodeAddresses: true };
  const [container] = statefulSetObject('cz-system', changed, version).spec?.template.spec?.containers ?? [];
  const values = new Map(container?.env?.map(({ name, value }) => [name, value]));
  assert.equal(values.get('CZ_ALSO_ROUTE'), '192.0.2.0/24,198.51.100.7/32');
  assert.equal(values.get('CZ_NODE_ADDRESSES'), 'allowed');
  assert.equal(values.get('CZ_NAMESPACES'), 'shop,blog');
});

test('objects have names of their own, and a binding comes in a later stage than its role', () => {
  const stages = createStages(options);
  const stageOf = (kind: string, name: string | undefined) =>
    stages.findIndex((stage) =>
      stage.some((object) => object.kind === kind && object.metadata?.name === name),
    );
  const names = stages
    .flat()
    .map(({ kind, metadata }) => `${kind}/${metadata?.namespace ?? ''}/${metadata?.name}`);
  assert.equal(new Set(names).size, names.length);
  for (const { kind = '', metadata } of stages
    .flat()
    .filter((object) => object.kind?.endsWith('RoleBinding')))
    assert.ok(stageOf(kind.replace('Binding', ''), metadata?.name) < stageOf(kind, metadata?.name));
});

function rulesOf(object: object): PolicyRule[] {
  return 'rules' in object && Array.isArray(object.rules) ? object.rules : [];
}

function subjectsOf(object: object | undefined): unknown {
  return object !== undefined && 'subjects' in object ? object.subjects : undefined;
}

function* stringsOf(schema: unknown): Generator<object> {
  if (typeof schema !== 'object' || schema === null) return;
  if ('type' in schema && schema.type === 'string') yield schema;
  if (!('properties' in schema) || typeof schema.properties !== 'object') return;
  for (const property of Object.values(schema.properties ?? {})) yield* stringsOf(property);
}
