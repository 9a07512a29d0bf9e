/**
 * Debian's systemd-resolved without installing it, which would take over the machine's resolver: the package unpacked
 * into a cache, and the configuration of a message bus of its own.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { exec } from '../../src/base/exec.js';

const FOLDER = join(homedir(), '.cache', 'cz', 'systemd-resolved');
/** The user that systemd-resolved becomes. */
const RESOLVED_UID = 990;

/** Returns the folder that holds the unpacked package, fetched by apt where it is not there yet. */
export async function unpackResolved(): Promise<string> {
  if (existsSync(join(FOLDER, 'usr/bin/resolvectl'))) return FOLDER;
  const folder = mkdtempSync(join(tmpdir(), 'cz-resolved-'));
  await exec(['apt-get', 'download', 'systemd-resolved'], { cwd: folder, timeoutMs: 120_000 });
  const [file = ''] = readdirSync(folder);
  const unpacked = join(folder, 'unpacked');
  await exec(['dpkg-deb', '-x', join(folder, file), unpacked]);
  mkdirSync(join(FOLDER, '..'), { recursive: true });
  await exec(['cp', '-r', unpacked, `${FOLDER}.new`]);
  renameSync(`${FOLDER}.new`, FOLDER);
  rmSync(folder, { recursive: true });
  return FOLDER;
}

/** Returns what /etc, /run and PATH need before it starts, as a line for sh; `$1` is the package's folder. */
export const PREPARE_RESOLVED = `
echo 'systemd-resolve:x:${RESOLVED_UID}:${RESOLVED_UID}::/:/usr/sbin/nologin' >> /etc/passwd
echo 'systemd-resolve:x:${RESOLVED_UID}:' >> /etc/group
mkdir -p /run/dbus /run/systemd/resolve
chown ${RESOLVED_UID}:${RESOLVED_UID} /run/systemd/resolve
mount -t tmpfs tmpfs /usr/local/sbin
cp "$1/usr/bin/resolvectl" /usr/local/sbin/
cat > /run/bus.conf
`;

/** How the bus is started, with BUS_CONFIG in that file. */
export const BUS_COMMAND = ['dbus-daemon', '--config-file=/run/bus.conf', '--nofork', '--nopidfile'] as const;

/** Lets everybody say everything: the bus is in a namespace of its own. */
export const BUS_CONFIG = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>
`;
