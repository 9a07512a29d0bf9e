/**
 * The handshake: who gets in, and by which code everybody else stays out, before anything is allocated.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CzError } from '../../../src/base/errors.js';
import {
  acceptSession,
  createKeyPair,
  openSession,
  type LaptopHello,
  type SessionKey,
  type Welcome,
} from '../../../src/tunnel/handshake.js';
import { createCarrierPair, type MemoryCarrier } from './memory-carrier.js';

const UID = '5f0c8a1e-0d2b-4c55-9f57-8d0f5f1b7a10';
const OFFLOADS = { checksum: true, tso4: true, tso6: true, tsoEcn: true, uso: false };
const HELLO: LaptopHello = {
  versions: [1],
  software: '0.1.0',
  addressRanges: ['198.18.0.0/15'],
  preferredAddress: '198.18.0.1',
  offloads: OFFLOADS,
  mtuMax: 65_535,
  streams: [[0, 0, 0, 0]],
};
const WELCOME: Welcome = {
  version: 1,
  software: '0.1.0',
  address: '198.18.0.1',
  mtu: 1450,
  offloads: OFFLOADS,
  networks: {
    services: ['10.96.0.0/16'],
    pods: ['10.244.0.0/24', '10.244.1.0/24'],
    nodes: ['192.0.2.1/32'],
    dns: { server: '10.96.0.10', clusterDomain: 'cluster.local' },
    namespaces: ['default', 'shop'],
  },
  manager: { namespace: 'cz-system', pod: 'cz-manager-0' },
  streams: [[0, 0, 0, 0]],
};

interface Scene {
  readonly laptopKey: SessionKey;
  readonly managerKey: SessionKey;
  /** What the Session's spec and status hold. */
  specKey: string | undefined;
  statusKey: string;
  hello: LaptopHello;
  welcome: () => Promise<Welcome>;
  between: (text: string, from: 'laptop' | 'manager') => string | undefined;
}

interface Outcome {
  readonly laptop: string;
  readonly manager: string;
  /** Whether anything was allocated. */
  readonly welcomed: number;
  readonly carriers: { readonly laptop: MemoryCarrier; readonly manager: MemoryCarrier };
}

function scene(change: (scene: Scene) => void = () => undefined): Scene {
  const [laptopKey, managerKey] = [createKeyPair(), createKeyPair()];
  const made: Scene = {
    laptopKey,
    managerKey,
    specKey: laptopKey.publicKey,
    statusKey: managerKey.publicKey,
    hello: HELLO,
    welcome: () => Promise.resolve(WELCOME),
    between: (text) => text,
  };
  change(made);
  return made;
}

async function play(of: Scene, timeoutMs = 2000): Promise<Outcome> {
  const carriers = createCarrierPair((text, from) => of.between(text, from));
  let welcomed = 0;
  const accepting = acceptSession(carriers.manager, {
    key: of.managerKey,
    lookup: (uid) =>
      Promise.resolve(uid === UID && of.specKey !== undefined ? { publicKey: of.specKey } : undefined),
    welcome: () => {
      welcomed += 1;
      return of.welcome();
    },
    timeoutMs,
  });
  const opening = openSession(carriers.laptop, {
    sessionUid: UID,
    key: of.laptopKey,
    hello: of.hello,
    mode: 'open',
    managerKey: () => Promise.resolve(of.statusKey),
    timeoutMs,
  });
  const code = (error: unknown) => (error instanceof CzError ? error.code : String(error));
  const [laptop, manager] = await Promise.all([
    opening.then(() => 'ok', code),
    accepting.then(() => 'ok', code),
  ]);
  return { laptop, manager, welcomed, carriers };
}

test('a laptop that holds the key of its Session is welcomed with what the manager says', async () => {
  const of = scene();
  const carriers = createCarrierPair();
  const accepting = acceptSession(carriers.manager, {
    key: of.managerKey,
    lookup: () => Promise.resolve({ publicKey: of.laptopKey.publicKey }),
    welcome: () => Promise.resolve(WELCOME),
    timeoutMs: 2000,
  });
  const welcome = await openSession(carriers.laptop, {
    sessionUid: UID,
    key: of.laptopKey,
    hello: HELLO,
    mode: 'resume',
    managerKey: () => Promise.resolve(of.managerKey.publicKey),
    timeoutMs: 2000,
  });
  assert.deepEqual(welcome, WELCOME);
  assert.deepEqual(await accepting, { sessionUid: UID, hello: HELLO, mode: 'resume', welcome: WELCOME });
  assert.equal(carriers.laptop.closedWith, undefined);
});

const foreign = createKeyPair();
const refusals: [string, (scene: Scene) => void, { laptop: string; manager: string }][] = [
  ['a Session that is not there', (of) => (of.specKey = undefined), both('UNKNOWN_SESSION')],
  ['a key other than the Session holds', (of) => (of.specKey = foreign.publicKey), both('KEY_MISMATCH')],
  [
    "a laptop that says the Session's key and holds another",
    (of) => {
      const real = of.laptopKey.publicKey;
      Object.assign(of, { laptopKey: { ...foreign, publicKey: real } });
    },
    both('BAD_SIGNATURE'),
  ],
  [
    'a manager whose key is not in the status',
    (of) => (of.statusKey = foreign.publicKey),
    both('KEY_MISMATCH'),
  ],
  [
    "a false manager that says the true one's key and holds another",
    (of) => Object.assign(of, { managerKey: { ...foreign, publicKey: of.managerKey.publicKey } }),
    both('BAD_SIGNATURE'),
  ],
  [
    'a relay that changes what the laptop says of itself',
    (of) =>
      (of.between = (text, from) => (from === 'laptop' ? text.replace('198.18.0.1', '198.18.0.9') : text)),
    both('BAD_SIGNATURE'),
  ],
  [
    'a relay that turns open into resume',
    (of) => (of.between = (text) => text.replace('"mode":"open"', '"mode":"resume"')),
    both('BAD_SIGNATURE'),
  ],
  [
    'a relay with its own nonce',
    (of) =>
      (of.between = (text, from) =>
        from === 'manager' ? text.replace(/"nonce":"[^"]*"/, `"nonce":"${'A'.repeat(43)}="`) : text),
    both('BAD_SIGNATURE'),
  ],
  [
    "a manager's proof sent back as the laptop's",
    (of) => {
      let proof = '';
      of.between = (text, from) => {
        if (!text.includes('"proof"')) return text;
        if (from === 'manager') proof = text;
        return proof;
      };
    },
    both('BAD_SIGNATURE'),
  ],
  ['a laptop of a later version', (of) => (of.hello = { ...HELLO, versions: [2] }), both('VERSION_MISMATCH')],
  [
    'a hello beyond its bounds',
    (of) => (of.hello = { ...HELLO, addressRanges: Array.from({ length: 17 }, () => '10.0.0.0/8') }),
    both('MALFORMED'),
  ],
  ['a hello that is no JSON', (of) => (of.between = (text) => text.replace('{', '')), both('MALFORMED')],
  [
    'a hello of more than 128 KiB',
    (of) => (of.between = (text) => text.replace('{', `{"x":"${'x'.repeat(128 * 1024)}",`)),
    both('MALFORMED'),
  ],
];

for (const [name, change, expected] of refusals) {
  test(`${name} is refused, with nothing allocated`, async () => {
    const { laptop, manager, welcomed } = await play(scene(change));
    assert.deepEqual({ laptop, manager }, expected);
    assert.equal(welcomed, 0);
  });
}

test('a laptop does not sign before the manager has proved itself', async () => {
  const { carriers } = await play(scene((of) => (of.statusKey = foreign.publicKey)));
  assert.equal(carriers.laptop.texts.length, 1);
  assert.doesNotMatch(carriers.laptop.texts.join(), /signature/);
});

test('what opening the session meets is told by its code', async () => {
  const refuse = () => Promise.reject(new CzError('NO_ADDRESS', 'all ranges are in use'));
  const { laptop, manager } = await play(scene((of) => (of.welcome = refuse)));
  assert.deepEqual({ laptop, manager }, both('NO_ADDRESS'));
});

test('what fails inside the manager is not told to the laptop', async () => {
  const fail = () => Promise.reject(new Error('a path, an address'));
  const { laptop, carriers } = await play(scene((of) => (of.welcome = fail)));
  assert.equal(laptop, 'FAILED');
  assert.doesNotMatch(carriers.manager.texts.join(), /a path/);
});

test('texts recorded from one handshake are worth nothing on another websocket', async () => {
  const of = scene();
  const recorded: string[] = [];
  of.between = (text, from) => {
    if (from === 'laptop') recorded.push(text);
    return text;
  };
  assert.equal((await play(of)).manager, 'ok');
  const { laptop, manager } = createCarrierPair();
  for (const text of recorded) laptop.sendText(text);
  let welcomed = 0;
  const replayed = acceptSession(manager, {
    key: of.managerKey,
    lookup: () => Promise.resolve({ publicKey: of.laptopKey.publicKey }),
    welcome: () => {
      welcomed += 1;
      return Promise.resolve(WELCOME);
    },
    timeoutMs: 2000,
  });
  await assert.rejects(replayed, { code: 'BAD_SIGNATURE' });
  assert.equal(welcomed, 0);
});

test('a peer that says nothing is given up when the time is over', async () => {
  const silent = scene((of) => (of.between = () => undefined));
  const { laptop, manager } = await play(silent, 50);
  assert.deepEqual({ laptop, manager }, both('TIMED_OUT'));
});

test('a peer that leaves ends the handshake at once', async () => {
  const { laptop, manager } = createCarrierPair();
  const of = scene();
  const opening = openSession(laptop, {
    sessionUid: UID,
    key: of.laptopKey,
    hello: HELLO,
    mode: 'open',
    managerKey: () => Promise.resolve(of.statusKey),
    timeoutMs: 60_000,
  });
  manager.terminate();
  await assert.rejects(opening, { code: 'LOST' });
});

test('a binary message within the handshake is a violation', async () => {
  const { laptop, manager } = createCarrierPair();
  const accepting = acceptSession(manager, {
    key: createKeyPair(),
    lookup: () => Promise.resolve(undefined),
    welcome: () => Promise.resolve(WELCOME),
    timeoutMs: 60_000,
  });
  laptop.sendBinary(Buffer.from([1]), () => undefined);
  await assert.rejects(accepting, { code: 'MALFORMED' });
});

function both(code: string): { laptop: string; manager: string } {
  return { laptop: code, manager: code };
}
