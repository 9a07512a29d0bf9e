/**
 * Rights on a real cluster: each rule of each role is what lets its holder do its thing (taken away, the API server
 * refuses by name), the holders can do nothing else, and the admission policies hold what RBAC cannot say. The manager
 * of cz-system is expected to be installed; its roles are put back as they were.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { PolicyRule } from 'kubernetes-types/rbac/v1.js';
import {
  CONNECT_ROLE,
  VIEW_ROLE,
  connectRole,
  managerClusterRole,
  managerRole,
  viewRole,
} from '../../../src/install/rights.js';
import { MANAGER, managerAccount } from '../../../src/install/identity.js';
import { defaultSettings } from '../../../src/install/settings.js';
import { VERSION } from '../../../src/base/version.js';
import { CZ, cz, loadManagerImage } from '../../support/manager.js';
import { waitFor } from '../../support/wait-for.js';
import { openCluster } from '../harness/cluster.js';

const NAMESPACE = 'cz-system';
const USER = 'rights-user';
const GROUP = 'cz-rights-testers';
const VIEWER = 'rights-viewer';
const SESSION = 'rights-session';
const KEY = `${'A'.repeat(43)}=`;

const cluster = await openCluster();

const laptop = await cluster.laptop('install');

before(async () => {
  const image = await loadManagerImage(cluster);
  const { exitCode, stderr } = await cz(
    laptop,
    cluster.kubeconfig,
    'install',
    '--image',
    image,
    '--allow-group',
    GROUP,
    '--only-namespaces',
    '',
  );
  assert.equal(exitCode, 0, stderr);
  await cluster.kubectl(['create', 'clusterrolebinding', VIEWER, '--clusterrole=view', `--user=${VIEWER}`]);
  await waitFor('the policies to be in force', async () =>
    /spec\.user is/.test(await create('forged', 'other')),
  );
  assert.equal(await create(SESSION, USER), 'allowed');
});

after(async () => {
  await cluster.kubectl(['delete', 'clusterrolebinding', VIEWER]);
  const sessions = await cluster.kubectl(['get', 'sessions', '-n', NAMESPACE, '-o', 'name']);
  const own = sessions.split('\n').filter((name) => name.includes('/rights-'));
  if (own.length > 0) await cluster.kubectl(['delete', '-n', NAMESPACE, ...own]);
  await cz(laptop, cluster.kubeconfig, 'install', '--allow-group', '');
});

/** What kubectl is told to be. */
interface Holder {
  readonly user: string;
  readonly groups: readonly string[];
}

const person: Holder = { user: USER, groups: [GROUP, 'system:authenticated'] };
const viewer: Holder = { user: VIEWER, groups: ['system:authenticated'] };
const administrator: Holder = { user: 'rights-admin', groups: ['system:masters'] };
const manager: Holder = {
  user: managerAccount(NAMESPACE),
  groups: ['system:serviceaccounts', 'system:authenticated'],
};

/** Asks as the holder; returns `allowed`, or what the API server said. Other failures than a refusal pass through. */
async function ask(holder: Holder, args: readonly string[], input?: string): Promise<string> {
  const as = [`--as=${holder.user}`, ...holder.groups.map((group) => `--as-group=${group}`)];
  try {
    await cluster.kubectl([...as, ...args], input);
    return 'allowed';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function sessionJson(name: string, user: string, spec: object = {}, namespace = NAMESPACE): string {
  const metadata = { name, namespace };
  const whole = { user, publicKey: KEY, software: VERSION, ...spec };
  return JSON.stringify({ apiVersion: 'cz.dev/v1', kind: 'Session', metadata, spec: whole });
}

function create(name: string, user: string, spec?: object): Promise<string> {
  return ask(person, ['create', '--raw', SESSIONS, '-f', '-'], sessionJson(name, user, spec));
}

const SESSIONS = `/apis/cz.dev/v1/namespaces/${NAMESPACE}/sessions`;

/** A request that needs exactly this verb on this resource. */
function requestFor(verb: string, resource: string): { args: string[]; input?: string } {
  const path = pathOf(resource);
  switch (verb) {
    case 'get':
      return { args: ['get', '--raw', path + (resource === 'sessions' ? `/${SESSION}` : '')] };
    case 'list':
      return { args: ['get', '--raw', `${path}?limit=1`] };
    case 'watch':
      return { args: ['get', '--raw', `${path}?watch=1&timeoutSeconds=1`] };
    case 'create': {
      const name = `${SESSION}-${Date.now()}`;
      return { args: ['create', '--raw', path, '-f', '-'], input: sessionJson(name, USER) };
    }
    case 'delete':
      return { args: ['delete', '--raw', `${path}/${SESSION}-gone`] };
    case 'patch': // server-side apply asks nothing before it patches
      return { args: ['apply', ...STATUS_FLAGS, '-f', '-'], input: statusJson() };
    default:
      throw new Error(`no request is known for the verb "${verb}"`);
  }
}

const STATUS_FLAGS = ['--server-side', '--subresource=status', '--validate=false'];

function statusJson(): string {
  const metadata = { name: SESSION, namespace: NAMESPACE };
  return JSON.stringify({ apiVersion: 'cz.dev/v1', kind: 'Session', metadata, status: { phase: 'Away' } });
}

function pathOf(resource: string): string {
  const paths: Record<string, string> = {
    sessions: SESSIONS,
    'sessions/status': SESSIONS,
    'pods/proxy': `/api/v1/namespaces/${NAMESPACE}/pods/${MANAGER}-0:443/proxy/healthz`,
    'pods/portforward': `/api/v1/namespaces/${NAMESPACE}/pods/${MANAGER}-0/portforward`,
    nodes: '/api/v1/nodes',
    namespaces: '/api/v1/namespaces',
    services: '/api/v1/services',
    pods: '/api/v1/pods',
    servicecidrs: '/apis/networking.k8s.io/v1/servicecidrs',
  };
  return paths[resource] ?? assert.fail(`no path is known for "${resource}"`);
}

/** The role under test: where it stands, who holds it, which rules it has. */
interface Held {
  readonly holder: Holder;
  readonly role: readonly string[];
  readonly rules: readonly PolicyRule[];
}

const connecting: Held = {
  holder: person,
  role: ['role', CONNECT_ROLE, '-n', NAMESPACE],
  rules: connectRole(NAMESPACE, VERSION).rules,
};

const roles: readonly Held[] = [
  connecting,
  { holder: manager, role: ['role', MANAGER, '-n', NAMESPACE], rules: managerRole(NAMESPACE, VERSION).rules },
  {
    holder: manager,
    role: ['clusterrole', MANAGER],
    rules: managerClusterRole(defaultSettings(VERSION), VERSION).rules,
  },
  { holder: viewer, role: ['clusterrole', VIEW_ROLE], rules: viewRole(VERSION).rules },
];

for (const held of roles) {
  for (const [index, rule] of held.rules.entries()) {
    const what = `${rule.verbs.join(', ')} on ${rule.resources?.join(', ')}`;
    test(`without the rule "${what}" of ${held.role[0]} ${held.role[1]} just that is refused, by name`, async () => {
      await withoutRule(held, index, async () => {
        for (const verb of rule.verbs) await refused(held.holder, verb, rule.resources?.[0] ?? '');
      });
      for (const verb of rule.verbs) await allowed(held.holder, verb, rule.resources?.[0] ?? '');
    });
  }
}

async function withoutRule(held: Held, index: number, use: () => Promise<void>): Promise<void> {
  await setRules(held, held.rules.toSpliced(index, 1));
  try {
    await use();
  } finally {
    await setRules(held, held.rules);
  }
}

async function setRules({ role }: Held, rules: readonly PolicyRule[]): Promise<void> {
  await cluster.kubectl(['patch', ...role, '--type=merge', '-p', JSON.stringify({ rules })]);
}

/** The authorizer follows a change of a role within moments, so both wait for their answer. */
async function refused(holder: Holder, verb: string, resource: string): Promise<void> {
  const { args, input } = requestFor(verb, resource);
  const named = new RegExp(`User "${holder.user}" cannot ${verb} resource "${resource}"`);
  await waitFor(`a refusal of ${verb} ${resource}`, async () => named.test(await ask(holder, args, input)));
}

/** Not refused; that a plain request to a port-forward, or the removal of nothing, then fails otherwise is fine. */
async function allowed(holder: Holder, verb: string, resource: string): Promise<void> {
  const { args, input } = requestFor(verb, resource);
  await waitFor(`${verb} ${resource} to be allowed`, async () => !isRefusal(await ask(holder, args, input)));
}

function isRefusal(said: string): boolean {
  return /forbidden/i.test(said);
}

/** For tests that make a user with a kubeconfig, which no foreign cluster lets them. */
const OWN = { skip: cluster.own ? false : 'needs the tests’ own cluster' };

test('a user with just the role for connecting connects and disconnects', OWN, async () => {
  const connected = await cz(laptop, await cluster.user(USER, [GROUP]), 'connect');
  assert.equal(connected.exitCode, 0, connected.stderr);
  const { stdout } = await laptop.run([process.execPath, CZ, 'status', '-o', 'json']);
  assert.match(stdout, /"state": ?"connected"/);
  const { exitCode, stderr } = await laptop.run([process.execPath, CZ, 'disconnect']);
  assert.equal(exitCode, 0, stderr);
});

/** What connecting asks first of each rule; a port-forward only where the pod proxy is shut. */
const asked: [index: number, refusal: RegExp][] = [
  [0, /may not create sessions\.cz\.dev in namespace "cz-system"/],
  [1, /may not (?:get|list|watch) sessions\.cz\.dev(?: "[^"]*")? in namespace "cz-system"/],
  [2, /may not get pods\/proxy "cz-manager-0:443" in namespace "cz-system"/],
];
for (const [index, refusal] of asked) {
  test(`cz connect without rule ${index + 1} of the role says ${refusal.source}`, OWN, async () => {
    const kubeconfig = await cluster.user(USER, [GROUP]);
    await withoutRule(connecting, index, async () => {
      const { exitCode, stderr } = await cz(laptop, kubeconfig, 'connect');
      assert.match(stderr, refusal);
      assert.equal(exitCode, 5, stderr);
    });
  });
}

const beyond: [Holder, string[]][] = [
  [person, ['delete', '--raw', `${SESSIONS}/${SESSION}`]],
  [
    person,
    ['patch', 'session', SESSION, '-n', NAMESPACE, '--type=merge', '-p', '{"metadata":{"labels":{"a":"b"}}}'],
  ],
  [person, ['get', '--raw', '/apis/cz.dev/v1/sessions']],
  [person, ['get', '--raw', `/api/v1/namespaces/${NAMESPACE}/pods/${MANAGER}-0`]],
  [person, ['get', '--raw', `/api/v1/namespaces/${NAMESPACE}/pods/${MANAGER}-0:80/proxy/`]],
  [person, ['get', '--raw', `/api/v1/namespaces/${NAMESPACE}/pods/${MANAGER}-0/proxy/`]],
  [person, ['get', '--raw', `/api/v1/namespaces/${NAMESPACE}/pods/other:443/proxy/`]],
  [person, ['get', '--raw', `/api/v1/namespaces/${NAMESPACE}/secrets`]],
  [manager, ['get', '--raw', `/api/v1/namespaces/${NAMESPACE}/secrets`]],
  [manager, ['get', '--raw', '/api/v1/secrets']],
  [manager, ['get', '--raw', '/api/v1/configmaps']],
  [manager, ['get', '--raw', '/apis/cz.dev/v1/sessions']],
  [manager, ['create', '--raw', SESSIONS, '-f', '-']],
  [manager, ['delete', '--raw', '/api/v1/namespaces/default/services/kubernetes']],
  [viewer, ['delete', '--raw', `${SESSIONS}/${SESSION}`]],
];
for (const [holder, args] of beyond) {
  test(`beyond its rights: ${holder.user} ${args.slice(0, 3).join(' ')}`, async () => {
    assert.match(await ask(holder, args, sessionJson('beyond', USER)), /forbidden/i);
  });
}

test('a Session under another user’s name is refused, naming both', async () => {
  const said = await create('rights-forged', 'admin-of-all');
  assert.match(said, new RegExp(`spec\\.user is "admin-of-all", but this request comes from "${USER}"`));
});

test('a Session outside the manager’s namespace is refused, even to an administrator', async () => {
  const said = await ask(
    administrator,
    ['create', '-f', '-'],
    sessionJson('rights-outside', 'rights-admin', {}, 'default'),
  );
  assert.match(said, /Sessions belong into the manager's namespace, "cz-system"/);
});

test('only the manager writes a status: an administrator is refused', async () => {
  const patch = JSON.stringify({ status: { managerKey: KEY, pod: 'false-manager' } });
  const flags = ['--subresource=status', '--type=merge', '-p', patch];
  const said = await ask(administrator, ['patch', 'session', SESSION, '-n', NAMESPACE, ...flags]);
  assert.match(said, /only system:serviceaccount:cz-system:cz-manager writes a Session's status/);
});

test('nothing of a Session’s spec can be changed, even by an administrator', async () => {
  for (const spec of [{ publicKey: `${'B'.repeat(43)}=` }, { user: 'other' }, { host: 'other' }]) {
    const args = ['patch', 'session', SESSION, '-n', NAMESPACE, '--type=merge'];
    const said = await ask(administrator, [...args, '-p', JSON.stringify({ spec })]);
    assert.match(said, /the spec of a Session cannot be changed/, JSON.stringify(spec));
  }
});

const malformed: object[] = [
  { publicKey: 'short' },
  { publicKey: `${'A'.repeat(44)}=` },
  { publicKey: `${'é'.repeat(43)}=` },
  { software: 'x'.repeat(65) },
  { software: '' },
  { host: 'x'.repeat(254) },
];
for (const spec of malformed) {
  test(`a Session with ${JSON.stringify(spec).slice(0, 40)} is refused`, async () => {
    assert.match(await create('rights-malformed', USER, spec), /invalid/i);
  });
}

test('sessions show user, state, pod, since when and from which version', async () => {
  const table = await cluster.kubectl(['get', 'sessions', '-A']);
  assert.match(table, /^NAMESPACE\s+NAME\s+USER\s+STATE\s+POD\s+SINCE\s+VERSION/);
  assert.match(table, new RegExp(`${NAMESPACE}\\s+${SESSION}\\s+${USER}`));
});

test('who may edit or administrate a namespace may look at sessions, as who may view it', async () => {
  for (const role of ['view', 'edit', 'admin']) {
    const rules = await cluster.kubectl(['get', 'clusterrole', role, '-o', 'jsonpath={.rules}']);
    assert.match(rules, /"cz\.dev"/, role);
  }
});
