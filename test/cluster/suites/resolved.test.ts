/**
 * A laptop with Debian's systemd-resolved, on the tests' own cluster: the cluster's names by way of it, all others by its own
 * servers, and no file touched.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { BUS_COMMAND, BUS_CONFIG, PREPARE_RESOLVED, unpackResolved } from '../../support/systemd-resolved.js';
import { openCluster } from '../harness/cluster.js';
import { OUTSIDE_ANSWER } from '../harness/outside.js';
import { OUTSIDE_DNS_ADDRESS } from '../harness/settings.js';
import { until } from '../harness/until.js';
import {
  assertAsBefore,
  connected,
  disconnected,
  ensureManager,
  field,
  laptopState,
  status,
  testLaptop,
  type LaptopState,
} from './support.js';

const SOMEBODY = { uid: 4242, gid: 4242 };
const SOON = { timeoutMs: 10_000, everyMs: 50 };

const cluster = await openCluster();
const laptop = await testLaptop(cluster, 'net-resolved');
const programs: ChildProcess[] = [];

describe('systemd-resolved', { skip: cluster.own ? false : 'needs the tests’ own cluster' }, () => {
  let folder = '';
  let web = '';
  let plain: Partial<LaptopState> = {};
  let resolver = '';

  before(
    async () => {
      await ensureManager(cluster);
      folder = await unpackResolved();
      await laptop.run(['sh', '-ec', PREPARE_RESOLVED, 'sh', folder], { input: BUS_CONFIG });
      programs.push(laptop.spawn(BUS_COMMAND, { stdio: 'ignore' }));
      await until('the message bus', () => laptop.run(['test', '-S', '/run/dbus/system_bus_socket']), SOON);
      await startResolved();
      await laptop.run(['resolvectl', 'dns', 'eth0', OUTSIDE_DNS_ADDRESS]);
      await laptop.run(['resolvectl', 'domain', 'eth0', 'corp.test']);
      await laptop.run(['resolvectl', 'llmnr', 'eth0', 'no']); // it waits seconds for neighbours that nobody is
      await laptop.run(['ln', '-sf', '../run/systemd/resolve/stub-resolv.conf', '/etc/resolv.conf']);
      await until('an outside name', async () => (await addresses('www.outside.test')).length === 1, SOON);
      web = await field(cluster, 'service web -n shop', '{.spec.clusterIP}');
      plain = Object.fromEntries(
        Object.entries(await laptopState(laptop)).filter(([what]) => what !== 'resolver'),
      ); // systemd-resolved makes that file anew at each change
      resolver = await resolvConf();
    },
    { timeout: 200_000 },
  );
  afterEach(async () => {
    await disconnected(laptop);
    await assertAsBefore(laptop, plain);
    assert.equal(await resolvConf(), resolver);
    assert.deepEqual(await addresses('www.outside.test'), [OUTSIDE_ANSWER]);
  });
  after(async () => {
    for (const program of programs.reverse()) await ended(program);
  });

  async function startResolved(): Promise<void> {
    programs.push(laptop.spawn([join(folder, 'lib/systemd/systemd-resolved')], { stdio: 'ignore' }));
    await until('systemd-resolved', () => laptop.run(['resolvectl', 'dns']), SOON);
  }

  test('the cluster’s names, bare and full, are answered by way of it, each kind of question', async () => {
    await connected(laptop, '-n', 'shop');
    assert.equal((await status(laptop)).dns?.mechanism, 'systemd-resolved');
    for (const name of ['web', 'web.shop', 'web.shop.svc', 'web.shop.svc.cluster.local'])
      assert.deepEqual([name, await addresses(name)], [name, [web]]);
    assert.match((await laptop.run(['curl', '-sS', '--max-time', '10', 'http://web'])).stdout, /^web-/);
    assert.match(await dig('-x', web), /web\.shop\.svc\.cluster\.local\.$/);
    assert.match(await dig('SRV', '_http._tcp.web.shop.svc.cluster.local'), /^0 100 80 web\.shop\./);
    assert.deepEqual(await addresses('nothing.shop.svc.cluster.local'), []);
  });

  test('outside names, also those of its search domain, stay with its own servers', async () => {
    await connected(laptop, '-n', 'shop');
    const tag = `t${Date.now()}`;
    assert.deepEqual(await addresses(`${tag}.outside.test`), [OUTSIDE_ANSWER]);
    assert.deepEqual(await addresses(`${tag}-bare`), []);
    await addresses(`${tag}.default.svc.cluster.local`);
    const asked = (await cluster.outsideQueries()).filter((query) => query.includes(tag));
    for (const name of [`${tag}.outside.test`, `${tag}-bare.corp.test`])
      assert.ok(
        asked.some((query) => query.startsWith(`A ${name}. `)),
        name,
      );
    assert.deepEqual(
      asked.filter((query) => query.includes('cluster.local. ')),
      [],
    );
  });

  test('resolv.conf is not touched, and the interface alone knows of the cluster', async () => {
    await connected(laptop, '-n', 'shop');
    assert.match(
      await resolvConf(),
      /^\/run\/systemd\/resolve\/stub-resolv\.conf\n[^]*^nameserver 127\.0\.0\.53$/m,
    );
    assert.match((await laptop.run(['resolvectl', 'domain', 'cz0'])).stdout, /~cluster\.local/);
    assert.match((await laptop.run(['resolvectl', 'default-route', 'cz0'])).stdout, /: no$/m);
    assert.doesNotMatch((await laptop.run(['resolvectl', 'domain', 'eth0'])).stdout, /cluster/);
  });

  test('its restart while connected does not lose the cluster’s names', async () => {
    await connected(laptop, '-n', 'shop');
    const running = programs.pop();
    if (running !== undefined) await ended(running);
    await startResolved();
    await until('a name of the cluster', async () => (await addresses('web.shop'))[0] === web, SOON);
    assert.deepEqual(await addresses('www.outside.test'), [OUTSIDE_ANSWER]);
  });

  test('kill -9 of the daemon leaves outside names as they were', async () => {
    const { daemon } = await connected(laptop, '-n', 'shop');
    await laptop.run(['kill', '-9', String(daemon?.pid)]);
    assert.deepEqual(await addresses('www.outside.test'), [OUTSIDE_ANSWER]);
    await until('the guard’s work', async () => (await status(laptop)).daemon === null, SOON);
  });
});

async function resolvConf(): Promise<string> {
  return (await laptop.run(['sh', '-c', 'readlink -f /etc/resolv.conf; cat /etc/resolv.conf'])).stdout;
}

async function addresses(name: string): Promise<string[]> {
  const { stdout } = await laptop.run(['getent', 'ahostsv4', name], { as: SOMEBODY, okCodes: [0, 2] });
  return [...new Set(stdout.split('\n').map((line) => line.split(' ')[0] ?? ''))].filter((one) => one !== '');
}

async function dig(...words: string[]): Promise<string> {
  return (
    await laptop.run(['dig', '+short', '+tries=1', '+time=5', ...words], { as: SOMEBODY })
  ).stdout.trim();
}

async function ended(program: ChildProcess): Promise<void> {
  if (program.exitCode !== null || program.signalCode !== null) return;
  const end = once(program, 'exit');
  program.kill();
  await end;
}
