/**
 * Mount namespaces: a holder process keeps one; its mounts are private copies that vanish with it, so a crash leaves
 * none behind. The scripts here are constants; what varies arrives as positional arguments: $1 the cluster's folder,
 * $2 a folder of the holder's own in it. Descriptor 3 keeps the cluster's folder in hand while its parent is covered.
 */
import { access, mkdir } from 'node:fs/promises';
import { CzError } from '../../../src/base/errors.js';
import { background, isRunning, logTail } from './processes.js';
import { CLUSTER_DIR, inCluster } from './settings.js';
import { until } from './until.js';

const HOLD_TIMEOUT_MS = 10_000;

/**
 * A node: /run, /var/lib and /var/log are its own (containerd's sockets, CNI's leases, links to logs), the cluster's
 * folder stays visible, and mounts made here propagate to its pods, as volumes need.
 */
const NODE_MOUNTS = `
set -e
exec 3< "$1"
umount -R /run/netns 2>/dev/null || true
for folder in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 cz "$folder"; done
mkdir -p "$1"
mount --no-canonicalize --bind /proc/self/fd/3 "$1"
exec 3<&-
mount --make-rshared /
touch "$2/ready"
exec sleep infinity`;

/**
 * A laptop: /run is empty; /etc, /home, /var/lib and /var/log are copies on write; resolv.conf is a plain file that
 * names the DNS server $3; /sys shows the namespace's own links. /tmp and the rest are the machine's.
 */
const LAPTOP_MOUNTS = `
set -e
exec 3< "$1"
umount -R /run/netns 2>/dev/null || true
mkdir "$2/layers"
mount -t tmpfs -o mode=755 cz "$2/layers"
for folder in /etc /home /var/log /var/lib; do # the last one covers the layers
  [ -d "$folder" ] || continue
  mkdir -p "$2/layers/upper$folder" "$2/layers/work$folder"
  chmod --reference="$folder" "$2/layers/upper$folder"
  layers="lowerdir=$folder,upperdir=$2/layers/upper$folder,workdir=$2/layers/work$folder"
  mount -t overlay -o "$layers" cz "$folder"
done
mount --no-canonicalize --bind /proc/self/fd/3 "$1"
exec 3<&-
mount -t tmpfs -o mode=755 cz /run
mkdir -m 1777 /run/lock
mount -t sysfs cz /sys
rm -f /etc/resolv.conf
echo "nameserver $3" > /etc/resolv.conf
touch "$2/ready"
exec sleep infinity`;

/** Keeps a node's mount namespace; returns the holder's process id when its mounts are made. */
export async function holdNode(net: string): Promise<number> {
  return hold(net, NODE_MOUNTS, []);
}

/** Keeps a laptop's mount namespace, its resolv.conf naming `dns`; returns the holder's process id. */
export async function holdLaptop(net: string, dns: string): Promise<number> {
  return hold(net, LAPTOP_MOUNTS, [dns]);
}

async function hold(net: string, script: string, args: readonly string[]): Promise<number> {
  const own = inCluster('holders', net);
  await mkdir(own, { recursive: true });
  const shell = ['sh', '-c', script, 'holder', CLUSTER_DIR, own, ...args];
  const pid = await background(`holder-${net}`, { net }, [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    '--',
    ...shell,
  ]);
  await until(`the mounts of ${net}`, () => held(net, own), { timeoutMs: HOLD_TIMEOUT_MS, everyMs: 20 });
  if (!(await isRunning(`holder-${net}`)))
    throw new CzError('PROGRAM_ENDED', `making the mounts of "${net}": ${await logTail(`holder-${net}`)}`);
  return pid;
}

async function held(net: string, own: string): Promise<boolean> {
  const ready = await access(`${own}/ready`).then(
    () => true,
    () => false,
  );
  return ready || !(await isRunning(`holder-${net}`));
}
