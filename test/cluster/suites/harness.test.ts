/** What the other suites take for granted: the tests' own cluster, its laptops and their links are what they say they are. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openCluster, type Cluster, type SuiteLaptop } from '../harness/cluster.js';
import { OUTSIDE_ANSWER } from '../harness/outside.js';
import { API_URL, BESIDE_ADDRESS, NODES, OUTSIDE_DNS_ADDRESS, ROUTER_ADDRESS } from '../harness/settings.js';
import { until } from '../harness/until.js';

const cluster = await openCluster();

if (cluster.own)
  describe('the tests’ own cluster', () => {
    let laptop: SuiteLaptop;
    let direct: SuiteLaptop;

    before(async () => {
      await (await cluster.laptop('harness')).close();
      laptop = await cluster.laptop('harness');
      direct = await cluster.laptop('harness-direct', 'direct');
    });

    after(async () => {
      await laptop.close();
      await direct.close();
    });

    test('pods of the two nodes reach each other by their own addresses', async () => {
      const [first, second] = await webPods(cluster);
      assert.notEqual(first?.node, second?.node);
      const argv = [
        'exec',
        '-n',
        'shop',
        first?.name ?? '',
        '--',
        'wget',
        '-qO-',
        `http://${second?.address}:8080/request`,
      ];
      const seen = JSON.parse(await cluster.kubectl(argv));
      assert.equal(seen.pod, second?.name);
      assert.equal(seen.peer.split(':')[0], first?.address);
    });

    test('a laptop reaches the API server and the outside DNS server, and nothing of the cluster', async () => {
      assert.match(await status(laptop, `${API_URL}/version`), /^(?:200|401|403)$/);
      const asked = await laptop.run(['dig', '+short', `@${OUTSIDE_DNS_ADDRESS}`, 'www.outside.test']);
      assert.equal(asked.stdout.trim(), OUTSIDE_ANSWER);
      const [pod] = await webPods(cluster);
      for (const address of [pod?.address ?? '', BESIDE_ADDRESS, ...NODES.map((node) => node.address)]) {
        const tried = await laptop.run(['ip', 'route', 'get', address], { okCodes: [2] });
        assert.match(tried.stderr, /Network is unreachable/);
      }
    });

    test('an outside query is seen in the outside server’s log', async () => {
      const name = `seen-${Date.now()}.outside.test`;
      await laptop.run(['dig', '+short', name]);
      await until(
        'the query in the log',
        async () => (await cluster.outsideQueries()).includes(`A ${name}. NOERROR`),
        {
          timeoutMs: 5000,
        },
      );
    });

    test('/etc and /run of a laptop are its own and stay between commands; /tmp is shared', async () => {
      await laptop.run(['sh', '-c', 'echo "# mine" >> /etc/resolv.conf; touch /run/mine']);
      const kept = await laptop.run(['sh', '-c', 'cat /etc/resolv.conf; ls /run/mine']);
      assert.match(kept.stdout, /^nameserver 198\.51\.100\.53\n# mine\n\/run\/mine\n$/);
      const other = await direct.run(['sh', '-c', 'cat /etc/resolv.conf; ls -d /run/mine /tmp'], {
        okCodes: [2],
      });
      assert.equal(other.stdout, 'nameserver 198.51.100.53\n/tmp\n');
    });

    test('a program’s exit code, signal and user arrive; what it leaves in the background lives on', async () => {
      assert.equal((await laptop.run(['sh', '-c', 'exit 7'], { okCodes: [7] })).exitCode, 7);
      const user = await laptop.run(['id', '-u'], { as: { uid: 1234, gid: 1234 } });
      assert.equal(user.stdout, '1234\n');
      const child = laptop.spawn(['sleep', '60'], { stdio: 'ignore' });
      const ended = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
      child.kill('SIGTERM');
      assert.equal(await ended, 'SIGTERM');
      const left = await laptop.run(['sh', '-c', 'setsid sleep 60 >/dev/null 2>&1 & echo $!']);
      await laptop.run(['kill', '-0', left.stdout.trim()]);
    });

    test('a Service answers beside the nodes, from both of its pods', async () => {
      const service = await cluster.kubectl([
        'get',
        'service',
        'web',
        '-n',
        'shop',
        '-o',
        'jsonpath={.spec.clusterIP}',
      ]);
      const names = new Set<string>();
      await until(
        'an answer of each pod',
        async () => {
          names.add((await direct.run(['curl', '-s', '-m', '2', `http://${service}/`])).stdout.trim());
          return names.size === 2;
        },
        { timeoutMs: 10_000, everyMs: 1 },
      );
      const pods = (await webPods(cluster)).map((pod) => pod.name);
      assert.deepEqual([...names].sort(), pods.sort());
    });

    test('a user has no right but what their groups bring', async () => {
      const kubeconfig = await cluster.user('nobody-in-particular', ['visitors']);
      const who = await cluster.kubectl([`--kubeconfig=${kubeconfig}`, 'auth', 'whoami', '-o', 'json']);
      assert.equal(JSON.parse(who).status.userInfo.username, 'nobody-in-particular');
      await assert.rejects(
        cluster.kubectl([`--kubeconfig=${kubeconfig}`, 'get', 'pods', '-n', 'shop']),
        /Forbidden/,
      );
    });

    test('a delay is one way, in both directions, and exact to 2 ms', async () => {
      await laptop.shape({ delayMs: 20 });
      assert.ok(Math.abs((await roundTripMs(laptop)) - 40) < 2);
      await laptop.shape({ up: { delayMs: 30 }, down: {} });
      assert.ok(Math.abs((await roundTripMs(laptop)) - 30) < 2);
      await laptop.unshape();
      assert.ok((await roundTripMs(laptop)) < 5);
    });

    test('a cut is silent, a reset is not, and the link works again after both', async () => {
      for (const [settings, code] of [
        [{ cut: true }, 28],
        [{ reset: true }, 7],
      ] as const) {
        await laptop.shape(settings);
        const tried = await laptop.run(['curl', '-sk', '-m', '1', API_URL], { okCodes: [28, 7] });
        assert.equal(tried.exitCode, code);
      }
      await laptop.shape({});
      assert.match(await status(laptop, `${API_URL}/version`), /^(?:200|401|403)$/);
      const report = await laptop.shape({});
      assert.ok(report.up.cut > 0 && report.up.resets > 0);
    });
  });

interface WebPod {
  readonly name: string;
  readonly node: string;
  readonly address: string;
}

async function webPods(from: Cluster): Promise<WebPod[]> {
  const line = '{range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIP}{"\\n"}{end}';
  const text = await from.kubectl(['get', 'pods', '-n', 'shop', '-l', 'app=web', '-o', `jsonpath=${line}`]);
  return text
    .trim()
    .split('\n')
    .map((one) => {
      const [name = '', node = '', address = ''] = one.split(' ');
      return { name, node, address };
    });
}

async function status(laptop: SuiteLaptop, url: string): Promise<string> {
  return (await laptop.run(['curl', '-sk', '-m', '5', '-o', '/dev/null', '-w', '%{http_code}', url])).stdout;
}

/** The best of five, so that a busy machine is not taken for the link. */
async function roundTripMs(laptop: SuiteLaptop): Promise<number> {
  const { stdout } = await laptop.run(['ping', '-n', '-c', '5', '-i', '0.05', ROUTER_ADDRESS]);
  return Number(/= ([\d.]+)\//.exec(stdout)?.[1]);
}
