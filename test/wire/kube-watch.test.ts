/**
 * List and watch against a scripted API server: what listeners are told, and how the watch goes on after a cut, a lost
 * version, silence, a refusal.
 */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, test } from 'node:test';
import type { CzError } from '../../src/base/errors.js';
import { openApi, type KubeApi } from '../../src/kube/api.js';
import {
  awaitManager,
  createSession,
  patchStatus,
  whoAmI,
  type SessionResource,
} from '../../src/kube/session.js';
import type { Watch, WatchEvent, WatchOptions } from '../../src/kube/watch.js';
import {
  answerJson,
  openTestServer,
  statusObject,
  type Asked,
  type TestServer,
} from '../support/api-server.js';
import { waitFor } from '../support/wait-for.js';

const closers: (() => unknown)[] = [];
after(async () => {
  for (const close of closers.reverse()) await close();
});

interface Thing {
  readonly metadata: { readonly uid: string; readonly name: string; readonly resourceVersion: string };
}

const thing = (name: string, resourceVersion: string): Thing => ({
  metadata: { uid: `uid-${name}`, name, resourceVersion },
});

interface Scripted {
  readonly server: TestServer;
  /** Watches that are open now, oldest first. */
  readonly open: { readonly asked: Asked; readonly answer: ServerResponse }[];
  readonly lists: Asked[];
  readonly watches: Asked[];
  /** What a list answers. */
  list: { items: Thing[]; version: string };
  /** Refuses the next watches with these codes. */
  refuse: number[];
  tell(type: string, object: unknown): void;
}

async function openScripted(): Promise<Scripted> {
  const server = await openTestServer();
  const scripted: Scripted = {
    server,
    open: [],
    lists: [],
    watches: [],
    list: { items: [], version: '1' },
    refuse: [],
    tell: (type, object) => void scripted.open.at(-1)?.answer.write(`${JSON.stringify({ type, object })}\n`),
  };
  server.handle = (asked, answer) => {
    if (asked.query.get('watch') !== '1') return list(scripted, asked, answer);
    scripted.watches.push(asked);
    const code = scripted.refuse.shift();
    if (code !== undefined) return answerJson(answer, code, statusObject(code, 'Refused', `refused ${code}`));
    answer.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    scripted.open.push({ asked, answer });
    return undefined;
  };
  closers.push(() => server.close());
  return scripted;
}

function list(scripted: Scripted, asked: Asked, answer: ServerResponse): void {
  scripted.lists.push(asked);
  const { items, version } = scripted.list;
  const from = Number(asked.query.get('continue') ?? 0);
  const next = from + 2 < items.length ? String(from + 2) : '';
  answerJson(answer, 200, {
    items: items.slice(from, from + 2),
    metadata: { resourceVersion: version, continue: next },
  });
}

interface Followed {
  readonly api: KubeApi;
  readonly watch: Watch<Thing>;
  readonly events: string[];
  readonly snapshots: string[][];
  readonly errors: CzError[];
}

function follow(scripted: Scripted, options: WatchOptions<Thing> = {}): Followed {
  const api = openApi(scripted.server.access());
  const events: string[] = [];
  const snapshots: string[][] = [];
  const errors: CzError[] = [];
  const watch = api.watch<Thing>('/api/v1/things', {
    onEvent: ({ type, object }: WatchEvent<Thing>) => events.push(`${type} ${object.metadata.name}`),
    onChange: (objects) => snapshots.push([...objects.values()].map(({ metadata }) => metadata.name)),
    onError: (error) => errors.push(error),
    ...options,
  });
  closers.push(
    () => api.close(),
    () => watch.close(),
  );
  return { api, watch, events, snapshots, errors };
}

test('a list in pages, then changes from its version: snapshots, events, bookmarks', async () => {
  const scripted = await openScripted();
  scripted.list = { items: [thing('a', '3'), thing('b', '4'), thing('c', '5')], version: '7' };
  const { watch, events, snapshots } = follow(scripted, { labelSelector: 'x=y' });
  await watch.ready();
  assert.deepEqual(snapshots, [['a', 'b', 'c']]);
  await waitFor('the watch is open', () => scripted.open.length === 1);
  scripted.tell('ADDED', thing('d', '8'));
  scripted.tell('MODIFIED', thing('a', '9'));
  scripted.tell('BOOKMARK', { metadata: { resourceVersion: '10' } });
  scripted.tell('DELETED', thing('b', '11'));
  await waitFor('all events are told', () => events.at(-1) === 'removed b');
  assert.deepEqual(events, ['added a', 'added b', 'added c', 'added d', 'changed a', 'removed b']);
  assert.deepEqual(snapshots.at(-1), ['a', 'c', 'd']);
  assert.equal(scripted.lists.length, 2);
  const query = scripted.watches[0]?.query;
  assert.equal(query?.get('resourceVersion'), '7');
  assert.equal(query?.get('allowWatchBookmarks'), 'true');
  assert.equal(query?.get('labelSelector'), 'x=y');
});

test('after a cut it goes on from the last version seen, a bookmark’s too, without a list', async () => {
  const scripted = await openScripted();
  const { watch, events, errors } = follow(scripted);
  await watch.ready();
  await waitFor('the watch is open', () => scripted.open.length === 1);
  scripted.tell('ADDED', thing('a', '5'));
  scripted.tell('BOOKMARK', { metadata: { resourceVersion: '42' } });
  await waitFor('it is told', () => events.length === 1);
  scripted.open[0]?.answer.destroy();
  await waitFor('it is open again', () => scripted.open.length === 2);
  assert.equal(scripted.open[1]?.asked.query.get('resourceVersion'), '42');
  assert.equal(scripted.lists.length, 1);
  assert.equal(errors[0]?.code, 'API_FAILED');
  scripted.tell('DELETED', thing('a', '43'));
  await waitFor('the change arrives', () => events.length === 2);
});

test('a version that is gone (410, as an answer or as an event) means a new list, told as the difference', async () => {
  for (const how of ['answer', 'event'] as const) {
    const scripted = await openScripted();
    scripted.list = { items: [thing('a', '1'), thing('b', '2')], version: '2' };
    if (how === 'answer') scripted.refuse = [410];
    const { watch, events, errors } = follow(scripted);
    await watch.ready();
    if (how === 'event') {
      await waitFor('the watch is open', () => scripted.open.length === 1);
      scripted.list = { items: [thing('b', '8'), thing('c', '9')], version: '9' };
      scripted.tell('ERROR', statusObject(410, 'Expired', 'too old resource version'));
      await waitFor('the difference is told', () => events.length === 5);
      assert.deepEqual(events.slice(2), ['removed a', 'changed b', 'added c']);
    }
    await waitFor('there was a second list', () => scripted.lists.length === 2 && scripted.open.length > 0);
    assert.deepEqual(errors, []);
  }
});

test('silence is a fault: the watch is opened again', async () => {
  const scripted = await openScripted();
  const { watch, errors } = follow(scripted, { silenceMs: 50 });
  await watch.ready();
  await waitFor('a second watch', () => scripted.watches.length === 2);
  assert.equal(errors[0]?.code, 'API_UNREACHABLE');
  assert.match(errors[0]?.message ?? '', /silent for 0.05 s/);
});

test('a refusal ends ready(), but the watch stays and succeeds once it may', async () => {
  const scripted = await openScripted();
  const granted = scripted.server.handle;
  scripted.server.handle = (_asked, answer) => answerJson(answer, 403, statusObject(403, 'Forbidden', 'no'));
  const { watch, snapshots } = follow(scripted);
  await assert.rejects(watch.ready(), { code: 'NOT_PERMITTED' });
  scripted.server.handle = granted;
  await waitFor('the list is there', () => snapshots.length === 1);
});

test('junk events, and a listener that throws, are told as errors and end nothing', async () => {
  const scripted = await openScripted();
  let throws = true;
  const { watch, errors, events } = follow(scripted, {
    onChange: () => {
      if (throws) throw new Error('listener broke');
    },
  });
  await watch.ready();
  assert.equal(errors[0]?.code, 'WATCH_LISTENER');
  throws = false;
  const junk = [
    '{"type":"ADDED"}',
    '[]',
    'nonsense',
    '{"type":"NEW","object":{}}',
    '{"type":"ADDED","object":{}}',
  ];
  for (const [index, line] of junk.entries()) {
    await waitFor('a watch is open', () => scripted.open.length === index + 1);
    scripted.open.at(-1)?.answer.write(`${line}\n`);
    await waitFor(`an error for ${line}`, () => errors.length === index + 2, 15_000);
    assert.equal(errors.at(-1)?.code, 'API_FAILED');
  }
  await waitFor('open again', () => scripted.open.length === junk.length + 1, 15_000);
  scripted.tell('ADDED', thing('a', '5'));
  await waitFor('it still works', () => events.length === 1);
});

test('close ends the connection, and no callback comes after it; so do the signal and the API', async () => {
  for (const by of ['close', 'signal', 'api'] as const) {
    const scripted = await openScripted();
    const stop = new AbortController();
    const { api, watch, errors, snapshots } = follow(scripted, { signal: stop.signal });
    await watch.ready();
    await waitFor('the watch is open', () => scripted.open.length === 1);
    const before = snapshots.length;
    if (by === 'signal') stop.abort();
    else if (by === 'api') api.close();
    else watch.close();
    await waitFor('the server sees the end', () => scripted.open[0]?.answer.destroyed === true);
    watch.close();
    assert.deepEqual([errors.length, snapshots.length], [0, before]);
  }
  const scripted = await openScripted();
  const { watch } = follow(scripted, { signal: AbortSignal.abort() });
  await assert.rejects(watch.ready(), { code: 'INTERRUPTED' });
});

const KEY = Buffer.alloc(32, 7).toString('base64');
const SPEC = { user: 'Jane Doe@example.com', publicKey: KEY, software: '1.0.0' };

const session = (resourceVersion: string, status?: Partial<SessionResource['status']>) => ({
  apiVersion: 'cz.dev/v1',
  kind: 'Session',
  metadata: { name: 'jane-x', namespace: 'cz-system', uid: 'uid-1', resourceVersion },
  spec: SPEC,
  ...(status === undefined ? {} : { status }),
});

async function openSessionApi() {
  const scripted = await openScripted();
  const inherited = scripted.server.handle;
  scripted.server.handle = (asked, answer) => {
    if (asked.method === 'POST') answerJson(answer, 201, session('5'));
    else inherited(asked, answer);
  };
  const api = openApi(scripted.server.access());
  closers.push(() => api.close());
  return { scripted, api, created: await createSession(api, 'cz-system', SPEC) };
}

test('a Session is created under a generated name, and its manager awaited by a watch without a list', async () => {
  const { scripted, api, created } = await openSessionApi();
  const asked = scripted.server.asked[0];
  assert.equal(asked?.path, '/apis/cz.dev/v1/namespaces/cz-system/sessions');
  assert.match(asked?.body ?? '', /"generateName":"jane-doe-example-com-"/);
  const status = awaitManager(api, 'cz-system', created, { timeoutMs: 5_000 });
  await waitFor('the watch is open', () => scripted.open.length === 1);
  assert.equal(scripted.open[0]?.asked.query.get('fieldSelector'), 'metadata.name=jane-x');
  assert.equal(scripted.open[0]?.asked.query.get('resourceVersion'), '5');
  scripted.tell('MODIFIED', session('6', { phase: 'Away', managerKey: 'no key', pod: 'cz-manager-0' }));
  scripted.tell(
    'MODIFIED',
    session('7', { phase: 'Away', managerKey: KEY, pod: 'cz-manager-0', podIP: '10.1.2.3' }),
  );
  assert.equal((await status).podIP, '10.1.2.3');
  assert.equal(scripted.lists.length, 0);
});

test('a manager that stays silent, a Session deleted meanwhile, an interruption: each its own code', async () => {
  const { scripted, api, created } = await openSessionApi();
  await assert.rejects(awaitManager(api, 'cz-system', created, { timeoutMs: 30 }), {
    code: 'MANAGER_SILENT',
  });
  const gone = assert.rejects(awaitManager(api, 'cz-system', created, { timeoutMs: 5_000 }), {
    code: 'SESSION_GONE',
  });
  await waitFor(
    'the watch is open',
    () => scripted.watches.length === 2 && scripted.open.at(-1)?.answer.destroyed === false,
  );
  scripted.tell('DELETED', session('8'));
  await gone;
  const signal = AbortSignal.abort();
  await assert.rejects(awaitManager(api, 'cz-system', created, { timeoutMs: 5_000, signal }), {
    code: 'INTERRUPTED',
  });
});

test('a cluster without the resource or the namespace has no manager', async () => {
  const { scripted, api } = await openSessionApi();
  scripted.server.handle = (_asked, answer) =>
    answerJson(answer, 404, statusObject(404, 'NotFound', 'not found'));
  await assert.rejects(createSession(api, 'cz-system', SPEC), {
    code: 'MANAGER_MISSING',
    hint: /cz install/,
  });
});

test('a status is written to this very Session', async () => {
  const { scripted, api, created } = await openSessionApi();
  scripted.server.handle = (_asked, answer) => answerJson(answer, 200, session('9'));
  await patchStatus(api, created, { phase: 'Connected' });
  const { path, body } = scripted.server.asked.at(-1) ?? { path: '', body: '{}' };
  assert.equal(path, '/apis/cz.dev/v1/namespaces/cz-system/sessions/jane-x/status');
  assert.deepEqual(JSON.parse(body), { metadata: { uid: 'uid-1' }, status: { phase: 'Connected' } });
});

test('who we are is Kubernetes’ answer', async () => {
  const { scripted, api } = await openSessionApi();
  scripted.server.handle = (_asked, answer) =>
    answerJson(answer, 201, { status: { userInfo: { username: 'jane', groups: ['dev'] } } });
  assert.equal(await whoAmI(api), 'jane');
  assert.equal(scripted.server.asked.at(-1)?.path, '/apis/authentication.k8s.io/v1/selfsubjectreviews');
});
