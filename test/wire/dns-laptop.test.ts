/**
 * The laptop's own resolver pointed at cz and put back, for real: each in namespaces of its own, with the programs that
 * users have (getent, dig, curl), for each form of resolv.conf and for systemd-resolved.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exec } from '../../src/base/exec.js';
import { LAPTOP_TEXT, OWN_DNS, type ResolvConfForm } from '../support/dns-laptop.js';
import { unpackResolved } from '../support/systemd-resolved.js';

const inside = fileURLToPath(new URL('../support/dns-inside.ts', import.meta.url));

const SCENARIO_TIMEOUT_MS = 60_000;
let resolvedFolder = '';

interface Seen {
  readonly mechanism: string;
  readonly before?: string;
  readonly during: string;
  readonly after?: string;
  readonly results: readonly string[];
  readonly domains: string;
  readonly domainsAfter: string;
  readonly changes: readonly { readonly servers: string[]; readonly search: string[] }[];
  readonly mounts: readonly string[];
  readonly left: readonly string[];
  readonly link: boolean;
  readonly cluster: readonly string[];
  readonly outside: readonly string[];
}

async function run(
  form: ResolvConfForm,
  o: {
    commands?: string[];
    end?: 'undo' | 'replay' | 'recover';
    foreign?: { path: string; text: string };
  } = {},
): Promise<Seen> {
  const commands = (o.commands ?? []).map((command) => command.split(' '));
  const scenario = { form, resolvedFolder, end: 'undo', ...o, commands };
  const argv = ['unshare', '-n', '-m', '-p', '-f', '--kill-child', '--mount-proc', process.execPath];
  const { stdout } = await exec([...argv, '--import', 'tsx', inside, JSON.stringify(scenario)], {
    timeoutMs: SCENARIO_TIMEOUT_MS,
  });
  const seen: Seen = JSON.parse(stdout);
  return seen;
}

before(async () => {
  resolvedFolder = await unpackResolved();
});

const forms: readonly [ResolvConfForm, string, boolean][] = [
  ['file', 'a plain file', false],
  ['link', 'a symbolic link', true],
  ['mount', 'a mount, as in a container', false],
  ['unmountable', 'a file where nobody may mount', false],
];
for (const [form, what, isLink] of forms) {
  for (const end of ['undo', 'replay', 'recover'] as const) {
    test(`resolv.conf is ${what}: names answer, and ${end} puts it back as it was`, async () => {
      const seen = await run(form, {
        end,
        commands: ['getent ahostsv4 web.shop', 'getent hosts www.example.com'],
      });
      assert.equal(seen.mechanism, 'resolv.conf');
      assert.match(seen.during, new RegExp(`^# cz [^]*nameserver ${OWN_DNS}\n`));
      assert.equal(seen.during.match(/^nameserver/gm)?.length, 1);
      assert.match(seen.results[0] ?? '', /^10\.96\.7\.7 /);
      assert.match(seen.results[1] ?? '', /^203\.0\.113\.80 +www\.example\.com$/);
      assert.deepEqual([seen.before, seen.after, seen.link], [LAPTOP_TEXT, LAPTOP_TEXT, isLink]);
      assert.deepEqual([seen.mounts, seen.left], [[], []]);
    });
  }
}

test('no resolv.conf at all: one is made, and taken away', async () => {
  const seen = await run('missing', { commands: ['getent ahostsv4 web.shop'] });
  assert.match(seen.results[0] ?? '', /^10\.96\.7\.7 /);
  assert.deepEqual([seen.before, seen.after], [undefined, undefined]);
});

const rewritten: readonly [string, ResolvConfForm, string, 'undo' | 'replay'][] = [
  ['writes over ours', 'file', '/etc/resolv.conf', 'undo'],
  ['writes over ours, and cz is killed', 'link', '/etc/resolv.conf', 'replay'],
  ['writes over ours where nobody may mount', 'unmountable', '/etc/resolv.conf', 'undo'],
  ['is NetworkManager', 'file', '/run/NetworkManager/no-stub-resolv.conf', 'undo'],
];
for (const [what, form, path, end] of rewritten) {
  test(`another program ${what}: its servers are followed, ours stays, its text is left behind`, async () => {
    const text = 'nameserver 192.0.2.54\nsearch other.example\n';
    const commands = ['dig +short www.example.com', 'cat /etc/resolv.conf'];
    const seen = await run(form, { foreign: { path, text }, commands, end });
    assert.equal(seen.results[0], '203.0.113.80');
    assert.match(
      seen.results[1] ?? '',
      new RegExp(`^# cz [^]*nameserver ${OWN_DNS}\nsearch .* other.example`),
    );
    assert.deepEqual(
      seen.changes.map(({ servers }) => servers),
      [['192.0.2.54']],
    );
    assert.deepEqual(
      seen.outside.filter((asked) => asked.startsWith('www.example.com')),
      [],
    );
    assert.deepEqual([seen.after, seen.mounts, seen.left], [text, [], []]);
  });
}

test('the names that users type, by the programs that they have', async () => {
  const table: readonly [string, RegExp][] = [
    ['getent hosts web', /^10\.96\.7\.7 /],
    ['getent hosts api', /^10\.96\.8\.8 /],
    ['dig +short web', /^10\.96\.7\.7$/],
    ['dig +short web.shop.svc', /^10\.96\.7\.7$/],
    ['dig +short web.shop.svc.cluster.local.', /^10\.96\.7\.7$/],
    ['dig +short pod-0.db.shop', /^10\.244\.1\.5$/],
    ['dig +short 10-244-1-5.shop.pod.cluster.local', /^10\.244\.1\.5$/],
    ['dig +short SRV _http._tcp.web.shop', /^0 100 80 web\.shop\.svc\.cluster\.local\.$/],
    ['dig +short -x 10.96.7.7', /^web\.shop\.svc\.cluster\.local\.$/],
    ['dig +short -x 203.0.113.1', /^www\.example\.com\.$/],
    ['dig +short far.shop', /^www\.example\.com\.\n203\.0\.113\.80$/],
    ['dig AAAA web.shop', /status: NOERROR.*\n.*ANSWER: 0, AUTHORITY: 1/],
    ['dig nosuch.kube-system', /status: NXDOMAIN/],
    ['dig +tcp +short web.shop', /^10\.96\.7\.7$/],
    ['dig +ignore +noedns many.shop', /flags: qr tc rd ra;/],
    ['dig +noall +answer WEB.Shop', /^WEB\.Shop\.\s+\d+\s+IN\s+A\s+10\.96\.7\.7$/],
    ['dig +short pages.dev', /^203\.0\.113\.81$/],
    ['dig +short web.dev', /^10\.96\.9\.9$/],
    ['dig +short intra.corp.example', /^203\.0\.113\.82$/],
    ['getent hosts printer', /^203\.0\.113\.83 +printer\.corp\.example$/],
    ['dig wpad.kube-system', /status: NXDOMAIN/],
    ['curl -s -w %{errormsg} http://web.shop:1/', /Failed to connect to web\.shop port 1/],
  ];
  const seen = await run('file', { commands: table.map(([command]) => command) });
  table.forEach(([command, expected], index) => assert.match(seen.results[index] ?? '', expected, command));
  const leaked = seen.cluster.filter((asked) => /wpad|www|intra|example/.test(asked));
  assert.deepEqual(leaked, [], 'no outside name went to the cluster');
  assert.deepEqual(
    seen.outside.filter((asked) => asked.includes('cluster.local')),
    [],
  );
});

for (const end of ['undo', 'replay'] as const) {
  test(`systemd-resolved: only the cluster’s names come to cz, resolv.conf stays its own, and ${end} takes all of it back`, async () => {
    const commands = [
      'getent hosts web',
      'dig +short api.team',
      'resolvectl query --legend=no web.shop',
      'dig +short -x 10.96.7.7',
      'getent hosts www.example.com',
      'getent hosts printer',
      'dig +short pages.dev',
      'dig nosuch.kube-system',
    ];
    const seen = await run('resolved', { commands, end });
    assert.equal(seen.mechanism, 'systemd-resolved');
    const expected = [
      /^10\.96\.7\.7 /,
      /^10\.96\.8\.8$/,
      /^web\.shop: 10\.96\.7\.7/,
      /^web\.shop\.svc\.cluster\.local\.$/,
      /^203\.0\.113\.80 /,
      /^203\.0\.113\.83 /,
      /^203\.0\.113\.81$/,
      /status: NXDOMAIN/,
    ];
    expected.forEach((pattern, index) => assert.match(seen.results[index] ?? '', pattern, commands[index]));
    assert.match(seen.during, /^nameserver 127\.0\.0\.53$/m);
    assert.match(seen.domains, /~cluster\.local/);
    assert.doesNotMatch(seen.domainsAfter, /cluster/);
    assert.equal(seen.after, seen.before);
    assert.deepEqual(
      seen.cluster.filter((asked) => asked.startsWith('www')),
      [],
    );
  });
}
