/**
 * What bad input gets on a real laptop and a real cluster: each its own short error, hint and exit code, and nothing
 * changed, neither on the laptop nor in the cluster. (Missing rights, one at a time: rights.test.ts.)
 */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { exec } from '../../../src/base/exec.js';
import { openCluster } from '../harness/cluster.js';
import { API_URL, inCluster } from '../harness/settings.js';
import {
  MANAGER,
  PROGRAM,
  connected,
  cz,
  disconnected,
  ensureManager,
  laptopState,
  status,
  testLaptop,
  type CzOptions,
  type LaptopState,
} from './support.js';

const SOMEBODY = { uid: 4242, gid: 4242 };
/** "Within 5 s" (issue 3, section 9), and what starting two programs takes on a busy machine. */
const UNREACHABLE_MAX_MS = 7000;

const cluster = await openCluster();
const laptop = await testLaptop(cluster, 'sec-input');
const folder = await mkdtemp(path.join(tmpdir(), 'cz-input-'));

describe('bad input', { skip: cluster.own ? false : 'needs the tests’ own cluster' }, () => {
  let untouched: LaptopState;

  before(
    async () => {
      await ensureManager(cluster);
      await chmod(folder, 0o755);
      await connected(laptop); // what a first connect leaves, an empty folder, is no change
      await disconnected(laptop);
      untouched = await laptopState(laptop);
    },
    { timeout: 200_000 },
  );
  after(() => rm(folder, { recursive: true }));

  interface Expected {
    readonly exitCode: number;
    readonly error: RegExp;
    readonly hint?: RegExp;
  }

  /** Runs cz, which must fail just so, and looks that nothing is different. */
  async function refused(
    args: readonly string[],
    expected: Expected,
    options: CzOptions = {},
  ): Promise<string> {
    const { exitCode, stdout, stderr } = await cz(laptop, args, options);
    const [error = '', hint, ...more] = stderr
      .trimEnd()
      .split('\n')
      .filter((line) => !line.endsWith(' …'));
    assert.match(error, /^cz: error: /, stderr);
    assert.match(error, expected.error);
    assert.equal(exitCode, expected.exitCode, stderr);
    assert.deepEqual([stdout, more], ['', []]);
    assert.ok(error.length < 300, error);
    if (expected.hint !== undefined) assert.match(hint ?? '', expected.hint);
    if (hint !== undefined) assert.match(hint, /^cz: hint: /);
    assert.deepEqual(await laptopState(laptop), untouched);
    assert.equal((await status(laptop)).state, 'disconnected');
    return hint?.replace('cz: hint: ', '') ?? '';
  }

  /** Writes a kubeconfig made of the admin's, changed. */
  async function kubeconfig(name: string, change: (text: string) => string): Promise<string> {
    const file = path.join(folder, name);
    await writeFile(file, change(await readFile(cluster.kubeconfig, 'utf8')), { mode: 0o644 });
    return file;
  }

  const toServer = (url: string) => (text: string) => text.replace(/server: .*/, `server: ${url}`);
  const withUser = (user: string) => (text: string) =>
    text.replace(/client-certificate-data: .*\n\s+client-key-data: .*/, user);

  test('not root, no terminal: exit 5, and the hint works as pasted', async () => {
    const hint = await refused(
      ['connect', '-n', 'shop', '--kubeconfig', cluster.kubeconfig],
      { exitCode: 5, error: /connect needs root/, hint: /^cz: hint: sudo -- \// },
      { as: SOMEBODY },
    );
    const pasted = await laptop.run(['sh', '-c', hint.replace(/^sudo -- /, '')], { timeoutMs: 60_000 });
    assert.match(pasted.stderr, /^cz: connected to /m);
    await disconnected(laptop);
  });

  test('no kubeconfig: exit 4, where it was looked for', async () => {
    await refused(
      ['connect'],
      { exitCode: 4, error: /no kubeconfig: ".*\/\.kube\/config" does not exist/, hint: /--kubeconfig FILE/ },
      { env: { KUBECONFIG: '', HOME: path.join(folder, 'nowhere'), SUDO_UID: '', SUDO_USER: '' } },
    );
  });

  test('a kubeconfig that is named and not there: exit 4, named', async () => {
    const missing = path.join(folder, 'missing');
    await refused(['connect', '--kubeconfig', missing], { exitCode: 4, error: new RegExp(missing) });
  });

  test('a kubeconfig that is a folder, or is no kubeconfig: named, with what is wrong', async () => {
    await refused(['connect', '--kubeconfig', folder], { exitCode: 5, error: new RegExp(`"${folder}"`) });
    for (const [name, text] of [
      ['binary', '\0\x01\x02'],
      ['broken', 'clusters: [unclosed'],
      ['list', '- 1\n- 2\n'],
      ['types', 'contexts: 5\n'],
    ] as const) {
      const file = await kubeconfig(name, () => text);
      await refused(['connect', '--kubeconfig', file], { exitCode: 1, error: new RegExp(`"${file}"`) });
    }
  });

  test('an unknown context: exit 4, and those that there are', async () => {
    await refused(['connect', '--context', 'elsewhere'], {
      exitCode: 4,
      error: /the context "elsewhere" is not in the kubeconfig/,
      hint: /there are: "cz-cluster"/,
    });
  });

  for (const [what, url] of [
    ['a closed port', API_URL.replace(/:\d+$/, ':1')],
    ['a port that somebody else serves', 'https://198.51.100.53:53'],
    ['a host that has no address', 'https://missing.outside.test:6443'],
  ] as const) {
    test(`the API server behind ${what}: told within 5 s`, async () => {
      const file = await kubeconfig('unreachable', toServer(url));
      const startedAt = performance.now();
      await refused(['connect', '--kubeconfig', file], {
        exitCode: 1,
        error: new RegExp(new URL(url).hostname),
      });
      assert.ok(performance.now() - startedAt < UNREACHABLE_MAX_MS);
    });
  }

  test('the API server in a black hole: told within 5 s', async () => {
    await laptop.shape({ cut: true });
    try {
      const startedAt = performance.now();
      await refused(['connect'], { exitCode: 1, error: /203\.0\.113\.10:6443/ });
      assert.ok(performance.now() - startedAt < UNREACHABLE_MAX_MS);
    } finally {
      await laptop.unshape();
    }
  });

  test('a certificate authority that is another one: not trusted, named', async () => {
    const other = await selfSigned('other-ca');
    const data = (await readFile(other)).toString('base64');
    const file = await kubeconfig('untrusted', (text) =>
      text.replace(/certificate-authority-data: .*/, `certificate-authority-data: ${data}`),
    );
    await refused(['connect', '--kubeconfig', file], {
      exitCode: 1,
      error: /203\.0\.113\.10:6443.*certificate/,
    });
  });

  async function selfSigned(name: string): Promise<string> {
    const file = path.join(folder, name);
    const out = ['-keyout', `${file}.key`, '-out', `${file}.crt`];
    await exec([
      'openssl',
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      `/CN=${name}`,
      ...out,
    ]);
    return `${file}.crt`;
  }

  test('an expired client certificate: exit 5, with the day on which it ended', async () => {
    const [cert, key] = await expired();
    const file = await kubeconfig(
      'expired',
      withUser(`client-certificate-data: ${cert}\n      client-key-data: ${key}`),
    );
    await refused(['connect', '--kubeconfig', file], {
      exitCode: 5,
      error: /the credential of context "cz-cluster" has expired: its client certificate ended 2020-01-02/,
      hint: /log in anew/,
    });
  });

  /** openssl-ca(1) alone takes dates of the past. */
  async function expired(): Promise<string[]> {
    const at = (name: string) => path.join(folder, name);
    await writeFile(at('index'), '');
    await writeFile(
      at('ca.cnf'),
      `[ca]\ndefault_ca=d\n[d]\ndatabase=${at('index')}\nnew_certs_dir=${folder}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n`,
    );
    const request = [
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      '/CN=expired',
    ];
    await exec(['openssl', 'req', '-new', ...request, '-keyout', at('old.key'), '-out', at('old.csr')]);
    const signer = ['-cert', inCluster('pki', 'ca.crt'), '-keyfile', inCluster('pki', 'ca.key')];
    const dates = ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z'];
    await exec([
      'openssl',
      'ca',
      '-batch',
      '-notext',
      '-config',
      at('ca.cnf'),
      ...signer,
      ...dates,
      '-in',
      at('old.csr'),
      '-out',
      at('old.crt'),
    ]);
    const [cert, key] = await Promise.all([readFile(at('old.crt')), readFile(at('old.key'))]);
    return [cert.toString('base64'), key.toString('base64')];
  }

  test('a token that is refused: exit 5, and the next step', async () => {
    const file = await kubeconfig('token', withUser('token: not-a-token'));
    await refused(['connect', '--kubeconfig', file], {
      exitCode: 5,
      error: /the API server does not accept the credential of context "cz-cluster"/,
      hint: /log in anew/,
    });
  });

  test('no credential at all: exit 5', async () => {
    const file = await kubeconfig('nobody', withUser('token: ""'));
    await refused(['connect', '--kubeconfig', file], {
      exitCode: 5,
      error: /system:anonymous|does not accept/,
    });
  });

  test('a user without the right: which right, on what, for whom, and how to get it', async () => {
    const file = await cluster.user('input-mallory', ['nothing']);
    await refused(['connect', '--kubeconfig', file], {
      exitCode: 5,
      error: /user "input-mallory" may not create sessions\.cz\.dev in namespace "cz-system"/,
      hint: /cz install --allow-group GROUP/,
    });
  });

  test('a namespace without a manager: exit 4, and how to put it there', async () => {
    await refused(['connect', '--manager-namespace', 'no-such-namespace'], {
      exitCode: 4,
      error: /no traffic manager is installed in namespace "no-such-namespace"/,
      hint: /cz install/,
    });
  });

  const plugins: readonly (readonly [what: string, script: string | undefined, error: RegExp])[] = [
    ['is not there', undefined, /no-such-plugin/],
    ['fails', 'echo "please log in" >&2; exit 3', /please log in/],
    ['says what is no credential', 'echo hello', /plugin|credential/i],
  ];
  for (const [what, script, error] of plugins) {
    test(`a credential plugin that ${what}: named, with what it said`, async () => {
      const program = path.join(folder, script === undefined ? 'no-such-plugin' : 'plugin');
      if (script !== undefined) await writeFile(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      const user = `exec:\n        apiVersion: client.authentication.k8s.io/v1\n        command: ${program}\n        interactiveMode: Never`;
      const file = await kubeconfig('plugin.yaml', withUser(user));
      await refused(['connect', '--kubeconfig', file], { exitCode: 1, error });
    });
  }

  const words: readonly (readonly [args: readonly string[], error: RegExp, hint: RegExp])[] = [
    [['conect'], /unknown command "conect"/, /did you mean connect\?/],
    [['connect', '--namespce', 'shop'], /unknown option "--namespce"/, /did you mean --namespace\?/],
    [['connect', '-n'], /argument missing/, /connect --help/],
    [['connect', 'shop'], /too many arguments/, /connect --help/],
    [['connect', '--'], /no command after "--"/, /connect -- CMD/],
    [
      ['connect', '--also-route', '10.0.0.0/33'],
      /--also-route "10\.0\.0\.0\/33" is no IPv4 network/,
      /10\.1\.0\.0\/16/,
    ],
    [
      ['connect', '--never-route', '300.1.1.1'],
      /--never-route "300\.1\.1\.1" is no IPv4 network/,
      /10\.1\.0\.0\/16/,
    ],
    [
      ['connect', '--also-route', 'missing.outside.test'],
      /--also-route "missing\.outside\.test"/,
      /10\.1\.0\.0\/16/,
    ],
    [
      ['connect', '-n', 'Not_A_Namespace'],
      /"Not_A_Namespace" is no name of a namespace/,
      /kubectl get namespaces/,
    ],
    [['connect', '-n', ''], /"" is no name of a namespace/, /kubectl get namespaces/],
    [['connect', '-o', 'xml'], /xml/, /connect --help/],
    [['connect', '--manager-url', 'http://x'], /"http:\/\/x.*" is no wss:\/\/ URL/, /wss:\/\//],
  ];
  for (const [args, error, hint] of words) {
    test(`cz ${args.join(' ')}: what is wrong, and the next step`, async () => {
      const { exitCode, stderr } = await cz(laptop, args);
      assert.match(stderr, error);
      assert.match(stderr, /^cz: error: /m);
      assert.match(stderr.split('\n').find((line) => line.startsWith('cz: hint: ')) ?? '', hint);
      assert.ok([2, 4].includes(exitCode), `${exitCode}: ${stderr}`);
      await disconnected(laptop); // a word that passed would spoil what follows
      assert.deepEqual(await laptopState(laptop), untouched);
    });
  }

  test('no /dev/net/tun: named, with the next step, and all undone', async () => {
    const line = 'mount -t tmpfs none /dev/net && exec "$@"';
    const { exitCode, stderr } = await laptop.run(
      [
        'unshare',
        '-m',
        'sh',
        '-c',
        line,
        'sh',
        process.execPath,
        PROGRAM,
        'connect',
        '--kubeconfig',
        cluster.kubeconfig,
      ],
      { okCodes: [0, 1, 4, 5], timeoutMs: 60_000 },
    );
    assert.match(stderr, /^cz: error: .*\/dev\/net\/tun/m);
    assert.match(stderr, /^cz: hint: /m);
    assert.notEqual(exitCode, 0);
    assert.deepEqual(await laptopState(laptop), untouched);
  });

  test('nothing of all this left a manager worse off', async () => {
    await connected(laptop, '-n', 'shop');
    assert.match((await laptop.run(['curl', '-sS', '--max-time', '10', 'http://web.shop'])).stdout, /^web-/);
    await disconnected(laptop);
    assert.deepEqual(await laptopState(laptop), untouched);
    const phase = await cluster.kubectl([
      'get',
      'pod',
      MANAGER.pod,
      '-n',
      MANAGER.namespace,
      '-o',
      'jsonpath={.status.phase}',
    ]);
    assert.equal(phase, 'Running');
  });
});
