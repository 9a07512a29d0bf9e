/**
 * Who gets a session, on a real manager behind the API server's pod proxy: only who holds the key of a Session that is
 * there. Everybody else is refused with a code, and the manager's kernel has nothing of them. (Forged `spec.user`, and
 * all that admission decides: rights.test.ts.)
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CzError, hasCode } from '../../../src/base/errors.js';
import type { Carrier, CarrierListener } from '../../../src/tunnel/carrier.js';
import { createKeyPair, openSession, type SessionKey } from '../../../src/tunnel/handshake.js';
import { createNonce, key32 } from '../../../src/tunnel/transcript.js';
import { openCluster } from '../harness/cluster.js';
import { until } from '../harness/until.js';
import { join, openGate, suiteHello, type Enrolled, type Gate } from './gate.js';
import { forwardedSessions, insideManager, tunnelInterfaces } from './manager-inside.js';
import { cz, ensureManager, field, MANAGER, succeeded } from './support.js';

const SOON = { timeoutMs: 15_000, everyMs: 50 };
const GROUP = 'cz-identity-testers';

const cluster = await openCluster();
const laptop = await cluster.laptop('sec-identity');
let gate: Gate;

before(
  async () => {
    await ensureManager(cluster);
    gate = await openGate(laptop, cluster.kubeconfig);
  },
  { timeout: 200_000 },
);
after(async () => {
  await gate.close();
  await laptop.close();
});

/** Returns the session addresses of these suites that the manager's kernel forwards for; undefined where nobody can look. */
async function allocated(): Promise<string[] | undefined> {
  if (!cluster.own) return undefined;
  return (await forwardedSessions(await insideManager(cluster))).filter((one) => / 192\.0\.2\./.test(one));
}

/** Runs an attempt that must be refused with this code, and looks that nothing came of it. */
async function refused(code: string, attempt: () => Promise<unknown>): Promise<void> {
  const before = await allocated();
  await assert.rejects(
    attempt(),
    (error) => hasCode(error, code) || assert.fail(`not ${code}: ${String(error)}`),
  );
  assert.deepEqual(await allocated(), before);
}

/** Dials and sends these texts; returns the manager's until it closes, the close code last. */
async function talk(say: (answers: readonly string[]) => string | undefined): Promise<string[]> {
  const carrier = await gate.dial();
  const heard: string[] = [];
  return new Promise((resolve) => {
    const next = () => {
      const text = say(heard);
      if (text !== undefined) carrier.sendText(text);
    };
    carrier.listen({
      text: (message) => {
        heard.push(message);
        next();
      },
      binary: () => heard.push('binary'),
      drained: () => undefined,
      closed: (code, reason) => resolve([...heard, `${code} ${reason}`]),
    });
    next();
  });
}

function helloOf(session: Partial<Enrolled>, key: SessionKey | undefined, more: object = {}): string {
  return JSON.stringify({
    type: 'hello',
    mode: 'open',
    session: session.uid,
    ...(key === undefined ? {} : { publicKey: key.publicKey }),
    nonce: createNonce(),
    hello: suiteHello(),
    ...more,
  });
}

test('who holds the key of a Session is let in, and is to be seen by kubectl with name, time and version', async () => {
  const session = await gate.enroll();
  const carrier = await gate.dial();
  const welcome = await join(carrier, session);
  assert.match(welcome.address, /^192\.0\.2\.\d+$/);
  const now = await until('the status', async () => statusIfConnected(session.name), SOON);
  assert.deepEqual(
    [now.address, now.pod, now.managerKey],
    [welcome.address, MANAGER.pod, session.managerKey],
  );
  const table = await cluster.kubectl(['get', 'sessions', '-A']);
  assert.match(table, /^NAMESPACE +NAME +USER +STATE +POD +SINCE +VERSION/);
  const row = table.split('\n').find((line) => line.includes(session.name)) ?? '';
  assert.match(row, /^cz-system +suite-\S+ +\S+ +Connected +cz-manager-0 +\d+s +suite *$/);
  if (cluster.own) assert.ok((await allocated())?.some((one) => one.endsWith(` ${welcome.address}`)));
  carrier.close(1000, '');
  await gate.remove(session.name);
  await until('the end of its forwarding', async () => noneOf(welcome.address), SOON);
});

async function statusIfConnected(name: string) {
  const { status } = await gate.session(name);
  return status?.phase === 'Connected' ? status : undefined;
}

async function noneOf(address: string): Promise<boolean> {
  return !((await allocated()) ?? []).some((one) => one.endsWith(` ${address}`));
}

test('without a key: refused as malformed', async () => {
  const session = await gate.enroll();
  const before = await allocated();
  const heard = await talk((answers) => (answers.length === 0 ? helloOf(session, undefined) : undefined));
  assert.match(heard[0] ?? '', /"code":"MALFORMED"/);
  assert.equal(heard.at(-1), '4401 MALFORMED');
  assert.deepEqual(await allocated(), before);
});

test('with a key that is not the Session’s: refused, whether it is shown or only signed with', async () => {
  const session = await gate.enroll();
  const foreign = createKeyPair();
  await refused('KEY_MISMATCH', async () => join(await gate.dial(), { ...session, key: foreign }));
  const pretended: SessionKey = {
    publicKey: session.key.publicKey,
    sign: (transcript, signer) => foreign.sign(transcript, signer),
  };
  await refused('BAD_SIGNATURE', async () => join(await gate.dial(), { ...session, key: pretended }));
});

test('the manager’s own proof sent back to it is no laptop’s', async () => {
  const session = await gate.enroll();
  const before = await allocated();
  const heard = await talk((answers) => {
    if (answers.length === 0) return helloOf(session, session.key);
    return answers.length === 2 ? answers[1] : undefined;
  });
  assert.equal(heard.at(-1), '4401 BAD_SIGNATURE');
  assert.deepEqual(await allocated(), before);
});

test('a transcript replayed on another connection is refused, also while the true one is open, and does not touch it', async () => {
  const session = await gate.enroll();
  const carrier = await gate.dial();
  const said: string[] = [];
  const welcome = await join(
    tapped(carrier, (text) => (said.push(text), text)),
    session,
  );
  const [hello, proof] = said;
  const before = await allocated();
  const replay = async () => {
    const heard = await talk((answers) =>
      answers.length === 0 ? hello : answers.length === 2 ? proof : undefined,
    );
    assert.equal(heard.at(-1), '4401 BAD_SIGNATURE');
    assert.deepEqual(await allocated(), before);
  };
  await replay();
  assert.equal((await gate.session(session.name)).status?.address, welcome.address);
  carrier.close(1000, '');
  await until('away', async () => (await gate.session(session.name)).status?.phase === 'Away', SOON);
  await replay();
});

/** A carrier that changes the texts on their way out, or in. */
function tapped(
  carrier: Carrier,
  out: (text: string) => string,
  inward: (text: string) => string = (text) => text,
): Carrier {
  return {
    sendText: (text) => carrier.sendText(out(text)),
    sendBinary: (message, done) => carrier.sendBinary(message, done),
    unsentBytes: 0,
    receivedBytes: 0,
    listen: (listener) =>
      carrier.listen(
        listener === undefined ? undefined : { ...listener, text: (text) => listener.text(inward(text)) },
      ),
    close: (code, reason) => carrier.close(code, reason),
    terminate: () => carrier.terminate(),
  };
}

/** What a program between laptop and manager may try: each text that passes may be changed. */
const relays: readonly {
  readonly does: string;
  readonly out?: (message: Record<string, unknown>) => object;
  readonly inward?: (message: Record<string, unknown>) => object;
  readonly laptopSays: string;
}[] = [
  {
    does: 'shows a key of its own',
    inward: (message) =>
      message['type'] === 'manager' ? { ...message, publicKey: createKeyPair().publicKey } : message,
    laptopSays: 'KEY_MISMATCH',
  },
  {
    does: 'changes what the laptop offers',
    out: (message) =>
      message['type'] === 'hello'
        ? { ...message, hello: suiteHello({ addressRanges: ['203.0.113.0/24'] }) }
        : message,
    laptopSays: 'BAD_SIGNATURE',
  },
  {
    does: 'changes the laptop’s nonce',
    out: (message) => (message['type'] === 'hello' ? { ...message, nonce: createNonce() } : message),
    laptopSays: 'BAD_SIGNATURE',
  },
  {
    does: 'changes the manager’s nonce',
    inward: (message) => (message['type'] === 'manager' ? { ...message, nonce: createNonce() } : message),
    laptopSays: 'BAD_SIGNATURE',
  },
];
for (const { does, out, inward, laptopSays } of relays) {
  test(`a false manager that relays and ${does} gets no signature of the laptop, and the manager allocates nothing`, async () => {
    const session = await gate.enroll();
    let signed = false;
    const key: SessionKey = {
      publicKey: session.key.publicKey,
      sign: (transcript, signer) => {
        signed = true;
        return session.key.sign(transcript, signer);
      },
    };
    const carrier = tapped(await gate.dial(), changed(out), changed(inward));
    await refused(laptopSays, () => join(carrier, { ...session, key }));
    assert.equal(signed, false);
  });
}

function changed(change?: (message: Record<string, unknown>) => object) {
  return (text: string) => (change === undefined ? text : JSON.stringify(change(JSON.parse(text))));
}

test('a false manager cannot spend what a laptop signs for it on a Session of its own', async () => {
  const [victim, thief] = [await gate.enroll(), await gate.enroll()];
  const carrier = tapped(await gate.dial(), (text) => text.replace(victim.uid, thief.uid));
  await refused('KEY_MISMATCH', () => join(carrier, victim));
});

test('a false manager that holds only the true one’s public key proves nothing', async () => {
  const session = await gate.enroll();
  const own = createKeyPair();
  const nonce = createNonce();
  const answers = [
    JSON.stringify({ type: 'manager', version: 1, publicKey: session.managerKey, nonce }),
    JSON.stringify({ type: 'proof', signature: own.sign(Buffer.from('anything'), 'manager') }),
  ];
  const impostor = speaking(answers);
  await assert.rejects(
    openSession(impostor.carrier, {
      sessionUid: session.uid,
      key: session.key,
      hello: suiteHello(),
      mode: 'open',
      managerKey: () => Promise.resolve(session.managerKey),
      timeoutMs: 5000,
    }),
    (error) => hasCode(error, 'BAD_SIGNATURE'),
  );
  assert.deepEqual(
    impostor.heard.map((text) => JSON.parse(text).type),
    ['hello'],
  );
});

/** A carrier whose far end says these texts to the first message, whatever it is. */
function speaking(texts: readonly string[]): { readonly carrier: Carrier; readonly heard: string[] } {
  const heard: string[] = [];
  let listener: CarrierListener | undefined;
  const carrier: Carrier = {
    sendText: (text) => {
      heard.push(text);
      if (heard.length === 1) for (const answer of texts) queueMicrotask(() => listener?.text(answer));
    },
    sendBinary: () => undefined,
    unsentBytes: 0,
    receivedBytes: 0,
    listen: (next) => (listener = next),
    close: () => undefined,
    terminate: () => undefined,
  };
  return { carrier, heard };
}

test('a Session that is deleted is over: its websocket is told, its key opens nothing any more', async () => {
  const session = await gate.enroll();
  const carrier = await gate.dial();
  const { address } = await join(carrier, session);
  const closed = closing(carrier);
  await gate.remove(session.name);
  assert.equal(await closed, '1000 SESSION_ENDED');
  await until('the end of its forwarding', async () => noneOf(address), SOON);
  for (const mode of ['open', 'resume'] as const)
    await refused('UNKNOWN_SESSION', async () => join(await gate.dial(), session, { mode }));
});

function closing(carrier: Carrier): Promise<string> {
  return new Promise((resolve) =>
    carrier.listen({
      text: () => undefined,
      binary: () => undefined,
      drained: () => undefined,
      closed: (code, reason) => resolve(`${code} ${reason}`),
    }),
  );
}

test('a Session made again under the same name is another one: neither the old UID nor the old key opens it', async () => {
  const first = await gate.enroll();
  await gate.remove(first.name);
  const second = await gate.enroll({ name: first.name });
  assert.notEqual(second.uid, first.uid);
  await refused('UNKNOWN_SESSION', async () => join(await gate.dial(), first));
  await refused('KEY_MISMATCH', async () => join(await gate.dial(), { ...second, key: first.key }));
  await refused('UNKNOWN_SESSION', async () => join(await gate.dial(), { ...first, key: second.key }));
});

const strangers: readonly { readonly who: string; readonly uid: string; readonly code: string }[] = [
  { who: 'a UID that was never given', uid: '00000000-0000-4000-8000-000000000000', code: 'UNKNOWN_SESSION' },
  { who: 'a UID that is none', uid: '../../pods/x', code: 'MALFORMED' },
  { who: 'an empty UID', uid: '', code: 'MALFORMED' },
];
for (const { who, uid, code } of strangers) {
  test(`${who}: ${code}`, async () => {
    const session = await gate.enroll();
    await refused(code, async () => join(await gate.dial(), { ...session, uid }));
  });
}

test('nothing to resume, no version in common, an offer of addresses that are not for laptops: refused, nothing allocated', async () => {
  const session = await gate.enroll();
  await refused('UNKNOWN_SESSION', async () => join(await gate.dial(), session, { mode: 'resume' }));
  await refused('VERSION_MISMATCH', async () => {
    const joining = join(await gate.dial(), session, { hello: suiteHello({ versions: [99] }) });
    await joining.catch((error: unknown) => {
      assert.match(error instanceof CzError ? (error.hint ?? '') : '', /cz install/);
      throw error;
    });
  });
  const pods = await field(cluster, 'nodes', '{.items[0].spec.podCIDR}');
  const offers = [
    [],
    ['10.0.0.0/8'],
    [pods],
    ['0.0.0.0/0'],
    ['172.31.0.1/32'],
    ['169.254.169.254/32'],
    ['127.0.0.0/8'],
  ];
  for (const addressRanges of offers) {
    await refused('NO_ADDRESS', async () =>
      join(await gate.dial(), session, { hello: suiteHello({ addressRanges }) }),
    );
  }
});

test(
  'another user who may connect, and sees a Session, can do nothing with it',
  { skip: !cluster.own },
  async () => {
    const groups = await allowedGroups();
    await allow([...groups, GROUP]);
    const session = await gate.enroll();
    const other = await openGate(laptop, await cluster.user('identity-bob', [GROUP]));
    try {
      assert.equal((await other.session(session.name)).spec.publicKey, session.key.publicKey);
      const pretended = { ...createKeyPair(), publicKey: key32(session.key.publicKey, 'key') };
      await refused('BAD_SIGNATURE', async () => join(await other.dial(), { ...session, key: pretended }));
      const gone = await other.call(
        'DELETE',
        `/apis/cz.dev/v1/namespaces/${MANAGER.namespace}/sessions/${session.name}`,
      );
      assert.equal(gone.status, 403);
    } finally {
      await other.close();
      await allow(groups);
    }
  },
);

async function allowedGroups(): Promise<string[]> {
  const binding = `rolebinding -n ${MANAGER.namespace} cz-connect --ignore-not-found`;
  const names = await field(cluster, binding, '{.subjects[*].name}');
  return names === '' ? [] : names.split(' ');
}

async function allow(groups: readonly string[]): Promise<void> {
  const flags = (groups.length === 0 ? [''] : groups).flatMap((group) => ['--allow-group', group]);
  succeeded(await cz(laptop, ['install', ...flags], { timeoutMs: 120_000 }));
}

test('every tunnel interface of the manager is a session’s', { skip: !cluster.own }, async () => {
  const manager = await insideManager(cluster);
  await until(
    'interfaces and sessions to agree',
    async () => {
      const [links, sessions] = [await tunnelInterfaces(manager), await forwardedSessions(manager)];
      const owned = new Set(sessions.map((one) => one.split(' ')[0]));
      return links.length === owned.size && links.every((name) => owned.has(name));
    },
    SOON,
  );
});
