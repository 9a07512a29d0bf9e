/**
 * Names on the tests' own cluster, by dig and by what programs use (getent, curl): the cluster's are the cluster's, all
 * others go where they went before, and resolv.conf is as before whatever it is.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { openCluster, type SuiteLaptop } from '../harness/cluster.js';
import { OUTSIDE_ANSWER } from '../harness/outside.js';
import { CLUSTER_DNS_ADDRESS, OUTSIDE_DNS_ADDRESS } from '../harness/settings.js';
import { until } from '../harness/until.js';
import {
  assertAsBefore,
  connected,
  cz,
  disconnected,
  ensureManager,
  field,
  laptopState,
  succeeded,
  testLaptop,
} from './support.js';

const OWN = 'needs the tests’ own cluster';
const SOMEBODY = { uid: 4242, gid: 4242 };
const SOON = { timeoutMs: 10_000, everyMs: 50 };
/** "Fast": no wait for a time limit is in it (resolv.conf(5): 5 s). */
const FAST_MS = 1000;
const MANY = 60;

const cluster = await openCluster();
const laptop = await testLaptop(cluster, 'net-dns');
const other = await testLaptop(cluster, 'net-dns-files');

before(
  async () => {
    if (cluster.own) await ensureManager(cluster);
  },
  { timeout: 200_000 },
);

interface Answer {
  readonly status: string;
  readonly flags: readonly string[];
  readonly question: string;
  /** Each as `NAME TYPE DATA`. */
  readonly records: readonly string[];
  readonly tookMs: number;
}

/** Asks as dig does, over what resolv.conf names. */
async function dig(...words: string[]): Promise<Answer> {
  const argv = [
    'dig',
    '+noall',
    '+comments',
    '+question',
    '+answer',
    '+stats',
    '+tries=1',
    '+time=5',
    ...words,
  ];
  const { stdout } = await laptop.run(argv, { as: SOMEBODY });
  const records = stdout
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith(';'))
    .map((line) => line.split(/\s+/))
    .map(([name, , , type, ...data]) => [name, type, ...data].join(' '));
  return {
    status: /status: (\w+)/.exec(stdout)?.[1] ?? '',
    flags: (/flags: ([a-z ]+)/.exec(stdout)?.[1] ?? '').trim().split(' '),
    question: /^;(\S+)\s+IN/m.exec(stdout)?.[1] ?? '',
    records: records.sort(),
    tookMs: Number(/Query time: (\d+)/.exec(stdout)?.[1]),
  };
}

async function addresses(name: string, on: SuiteLaptop = laptop): Promise<string[]> {
  const { stdout } = await on.run(['getent', 'ahostsv4', name], { as: SOMEBODY, okCodes: [0, 2] });
  return [...new Set(stdout.split('\n').map((line) => line.split(' ')[0] ?? ''))]
    .filter((one) => one !== '')
    .sort();
}

describe('names on a connected laptop', { skip: cluster.own ? false : OWN }, () => {
  let web = '';
  let db: readonly string[] = [];

  before(async () => {
    await connected(laptop, '-n', 'shop');
    web = await field(cluster, 'service web -n shop', '{.spec.clusterIP}');
    const pods = ['db-0', 'db-1'].map((name) => field(cluster, `pod ${name} -n shop`, '{.status.podIP}'));
    db = await Promise.all(pods);
  });

  for (const name of ['web', 'web.shop', 'web.shop.svc', 'web.shop.svc.cluster.local'])
    test(`${name} is the Service's address, with and without the last dot`, async () => {
      assert.deepEqual(await addresses(name), [web]);
      for (const asked of [name, `${name}.`])
        assert.deepEqual((await dig(asked)).records, [`${name}. A ${web}`]);
    });

  test('names of a namespace that is not connected need the namespace', async () => {
    assert.deepEqual(await addresses('kube-dns.kube-system'), [CLUSTER_DNS_ADDRESS]);
    assert.deepEqual(await addresses('kube-dns'), []);
  });

  test('a headless Service is its pods, and each pod has its name', async () => {
    assert.deepEqual(await addresses('db.shop'), [...db].sort());
    for (const suffix of ['db', 'db.shop', 'db.shop.svc', 'db.shop.svc.cluster.local']) {
      assert.deepEqual(await addresses(`db-0.${suffix}`), [db[0]]);
      assert.deepEqual(await addresses(`db-1.${suffix}`), [db[1]]);
    }
  });

  test('a pod’s address is its name', async () => {
    const name = db[0]?.replaceAll('.', '-');
    for (const suffix of ['shop.pod', 'shop.pod.cluster.local'])
      assert.deepEqual(await addresses(`${name}.${suffix}`), [db[0]]);
  });

  test('SRV names port and target', async () => {
    const { records } = await dig('SRV', '_http._tcp.web.shop.svc.cluster.local');
    assert.deepEqual(records, [
      '_http._tcp.web.shop.svc.cluster.local. SRV 0 100 80 web.shop.svc.cluster.local.',
    ]);
    const short = await dig('SRV', '_redis._tcp.db.shop');
    assert.deepEqual(
      short.records.map((record) => record.split(' ').slice(-2).join(' ')),
      ['6379 db-0.db.shop.svc.cluster.local.', '6379 db-1.db.shop.svc.cluster.local.'],
    );
  });

  test('PTR leads from the addresses of Services and pods to their names', async () => {
    const found = async (address: string) =>
      (await dig('-x', address)).records.map((one) => one.split(' ').at(-1));
    assert.deepEqual(await found(web), ['web.shop.svc.cluster.local.']);
    assert.deepEqual(await found(db[1] ?? ''), ['db-1.db.shop.svc.cluster.local.']);
  });

  test('an ExternalName is a CNAME with an address', async () => {
    const { records } = await dig('outside.shop.svc.cluster.local');
    assert.deepEqual(
      records.map((record) => record.split(' ').slice(0, 2).join(' ')),
      ['outside.shop.svc.cluster.local. CNAME', 'www.outside.test. A'],
    );
    assert.equal((await addresses('outside.shop')).length, 1);
  });

  test('AAAA of a name with IPv4 alone is NODATA', async () => {
    for (const name of ['web.shop', 'web.shop.svc.cluster.local', 'db-0.db.shop']) {
      const { status, records } = await dig('AAAA', name);
      assert.deepEqual([name, status, records], [name, 'NOERROR', []]);
    }
  });

  test('unknown names are NXDOMAIN, fast', async () => {
    for (const name of [
      'nothing.shop',
      'nothing.shop.svc',
      'nothing.shop.svc.cluster.local',
      'x.nowhere.svc',
    ]) {
      const { status, tookMs } = await dig(name);
      assert.deepEqual([name, status], [name, 'NXDOMAIN']);
      assert.ok(tookMs < FAST_MS, `${name}: ${tookMs} ms`);
    }
  });

  test('the question comes back as it was written', async () => {
    const { question, records } = await dig('WeB.sHoP');
    assert.equal(question, 'WeB.sHoP.');
    assert.equal(records.length, 1);
  });

  for (const options of [
    ['+tcp'],
    ['+noedns'],
    ['+bufsize=1232'],
    ['+bufsize=4096', '+dnssec'],
    ['+cookie'],
    ['+edns=1', '+noednsnegotiation'],
  ])
    test(`dig ${options.join(' ')} gets an answer to it`, async () => {
      const { status, records } = await dig(...options, 'web.shop');
      const wanted = options.includes('+edns=1') ? ['BADVERS', 0] : ['NOERROR', 1]; // RFC 6891 §6.1.3
      assert.deepEqual([status, records.length], wanted);
    });

  test('an answer beyond 512 bytes is cut with TC over UDP without EDNS, and whole over TCP', async () => {
    const name = 'net-many.shop.svc.cluster.local';
    await manyEndpoints('net-many');
    try {
      await until('all addresses', async () => (await dig('+tcp', name)).records.length === MANY, SOON);
      const cut = await dig('+noedns', '+ignore', name);
      assert.ok(cut.flags.includes('tc') && cut.records.length < MANY);
      const whole = await dig('+noedns', name);
      assert.deepEqual([whole.flags.includes('tc'), whole.records.length], [false, MANY]);
      assert.equal((await addresses(name)).length, MANY);
    } finally {
      await cluster.kubectl(['delete', 'service,endpointslice', '-n', 'shop', '-l', 'net=many']);
    }
  });

  /** A headless Service without pods: addresses that nobody has. */
  async function manyEndpoints(name: string): Promise<void> {
    const metadata = { name, namespace: 'shop', labels: { net: 'many', 'kubernetes.io/service-name': name } };
    const ports = [{ name: 'http', port: 80 }];
    const endpoints = Array.from({ length: MANY }, (_, at) => ({ addresses: [`10.244.200.${at + 1}`] }));
    const items = [
      { apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP: 'None', ports } },
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata,
        addressType: 'IPv4',
        ports,
        endpoints,
      },
    ];
    await cluster.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  }

  test('outside names are asked of the outside server alone, and the cluster’s never of it', async () => {
    const tag = `t${Date.now()}`;
    assert.deepEqual(await addresses(`${tag}.outside.test`), [OUTSIDE_ANSWER]);
    assert.equal((await dig('missing.outside.test')).status, 'NXDOMAIN');
    await until(
      'the query',
      async () => (await cluster.outsideQueries()).includes(`A ${tag}.outside.test. NOERROR`),
      SOON,
    );
    const ours = [`${tag}.default`, `${tag}.shop.svc`, `${tag}.shop.svc.cluster.local`, `${tag}.shop.pod`];
    for (const name of ours) await addresses(name);
    const asked = new Set((await cluster.outsideQueries()).map((query) => query.split(' ')[1]));
    assert.deepEqual(
      ours.filter((name) => asked.has(`${name}.`)),
      [],
    );
  });

  test('a namespace that is a public top-level domain too keeps its Services, the rest of it is outside', async () => {
    const name = `t${Date.now()}.shop`;
    assert.equal((await dig(name)).status, 'NXDOMAIN');
    await until(
      'the query',
      async () => (await cluster.outsideQueries()).includes(`A ${name}. NXDOMAIN`),
      SOON,
    );
    assert.match(
      succeeded(await cz(laptop, ['logs', '--daemon'])).stdout,
      /asked of the cluster first.*shop/,
    );
  });

  test('no outside name, and no wpad, goes into the tunnel', async () => {
    const watcher = laptop.spawn(['tcpdump', '-l', '-n', '-i', 'cz0', 'port 53'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = once(watcher, 'exit');
    let seen = '';
    watcher.stdout?.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    watcher.stderr?.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    try {
      await until('tcpdump to listen', () => seen.includes('listening on'), SOON);
      for (const name of ['www.outside.test', 'example.test', 'wpad', 'wpad.shop', 'wpad.outside.test'])
        await dig(name);
      await addresses('curl-would-ask.outside.test');
      const last = `last-${Date.now()}.shop`;
      await dig(last);
      await until('the last question in the tunnel', () => seen.includes(`${last}.svc.cluster.local`), SOON);
    } finally {
      watcher.kill();
      await ended;
    }
    assert.doesNotMatch(seen, /outside\.test|example\.test|wpad/);
  });

  test('bare names of several namespaces, the first one first', async () => {
    await connected(laptop, '-n', 'kube-system', '-n', 'shop');
    try {
      assert.deepEqual(await addresses('kube-dns'), [CLUSTER_DNS_ADDRESS]);
      assert.deepEqual(await addresses('web'), [web]);
    } finally {
      await connected(laptop, '-n', 'shop');
    }
  });

  test('without -n the context’s namespace is the connected one', async () => {
    await disconnected(laptop);
    const { namespaces } = await connected(laptop);
    assert.deepEqual(namespaces, ['default']);
    assert.deepEqual(await addresses('kubernetes'), [
      await field(cluster, 'service kubernetes', '{.spec.clusterIP}'),
    ]);
    assert.deepEqual(await addresses('web'), []);
  });
});

describe('whatever resolv.conf is', { skip: cluster.own ? false : OWN }, () => {
  const SERVER = `nameserver ${OUTSIDE_DNS_ADDRESS}`;
  after(() => disconnected(other));

  const shell = (line: string) => other.run(['sh', '-c', line]);

  async function worksAndGoes(): Promise<void> {
    const before = await laptopState(other);
    await connected(other, '-n', 'shop');
    const web = await field(cluster, 'service web -n shop', '{.spec.clusterIP}');
    assert.deepEqual(await addresses('web', other), [web]);
    assert.deepEqual(await addresses('www.outside.test', other), [OUTSIDE_ANSWER]);
    await disconnected(other);
    await assertAsBefore(other, before);
    assert.deepEqual(await addresses('www.outside.test', other), [OUTSIDE_ANSWER]);
  }

  test('a plain file', async () => {
    await worksAndGoes();
  });

  test('a symbolic link', async () => {
    await shell(
      `mkdir -p /run/net && mv /etc/resolv.conf /run/net/ && ln -s ../run/net/resolv.conf /etc/resolv.conf`,
    );
    await worksAndGoes();
    await shell('rm /etc/resolv.conf && cp /run/net/resolv.conf /etc/resolv.conf');
  });

  test('a bind mount, as in a container', async () => {
    await shell(`echo "${SERVER}" > /run/bound && mount --bind /run/bound /etc/resolv.conf`);
    try {
      await worksAndGoes();
    } finally {
      await shell('umount /etc/resolv.conf');
    }
  });

  test('its own search domain and options stay in force', async () => {
    await shell(
      `printf '%s\\nsearch outside.test\\noptions timeout:3 attempts:1\\n' "${SERVER}" > /etc/resolv.conf`,
    );
    await connected(other, '-n', 'shop');
    assert.deepEqual(await addresses('intranet', other), [OUTSIDE_ANSWER]);
    assert.deepEqual(await addresses('web.outside.test', other), [OUTSIDE_ANSWER]);
    assert.equal((await addresses('web', other)).length, 1);
    const { stdout } = await shell('stat -c %a /etc/resolv.conf; cat /etc/resolv.conf');
    assert.match(
      stdout,
      /^644\n[^]*^search shop\.svc\.cluster\.local outside\.test\noptions timeout:3 attempts:1$/m,
    );
    await disconnected(other);
  });

  test('rewritten by another program while connected: its servers count, and stay after disconnect', async () => {
    await connected(other, '-n', 'shop');
    await shell(`printf '# by dhcp\\n%s\\nsearch lan.outside.test\\n' "${SERVER}" > /etc/resolv.conf`);
    await until(
      'both to work again',
      async () => {
        const names = ['web', 'printer', 'www.outside.test'];
        return (await Promise.all(names.map((name) => addresses(name, other)))).every(
          (found) => found.length === 1,
        );
      },
      SOON,
    );
    await disconnected(other);
    assert.equal(
      (await shell('cat /etc/resolv.conf')).stdout,
      `# by dhcp\n${SERVER}\nsearch lan.outside.test\n`,
    );
  });
});
