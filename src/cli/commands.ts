/**
 * The commands, as data. Help, parsing and shell completion all read this table; a command's code is loaded when it
 * runs.
 */
import type { CommandSpec, OptionSpec } from './command.js';

const KUBECONFIG: OptionSpec = { flags: '--kubeconfig <file>', does: 'the kubeconfig to use' };
const CONTEXT: OptionSpec = { flags: '--context <name>', does: 'the kubeconfig context to use' };
const MANAGER_NAMESPACE: OptionSpec = {
  flags: '--manager-namespace <name>',
  does: 'where the traffic manager lives (default cz-system)',
};
const IMAGE: OptionSpec = { flags: '--image <reference>', does: "the traffic manager's image" };

function output(...formats: readonly string[]): OptionSpec {
  return { flags: '-o, --output <format>', does: `print as ${formats.join(', ')}`, choices: formats };
}

/** Options of every command. */
export const COMMON_OPTIONS: readonly OptionSpec[] = [
  { flags: '-q, --quiet', does: 'say nothing but the answer, warnings and errors' },
  { flags: '-v, --verbose', does: 'say more' },
];

const CONNECT: CommandSpec = {
  name: 'connect',
  summary: 'make this laptop a member of the cluster',
  takesCommand: true,
  examples: [
    { line: 'sudo cz connect', does: "connect to the kubeconfig's current context" },
    {
      line: 'sudo cz connect -n shop -n pay',
      does: 'reach the Services of shop and pay by their bare names',
    },
    { line: 'sudo cz connect --install', does: 'put the traffic manager there if it is missing' },
    { line: 'sudo cz connect -- curl http://web.shop', does: 'connected while the command runs' },
  ],
  options: [
    { flags: '-n, --namespace <name>', does: 'its Services answer by their bare name', repeat: true },
    CONTEXT,
    KUBECONFIG,
    { flags: '--also-route <net>', does: 'a CIDR or host to reach through the cluster', repeat: true },
    { flags: '--never-route <net>', does: "a CIDR or host that stays the laptop's", repeat: true },
    MANAGER_NAMESPACE,
    { flags: '--manager-url <url>', does: 'reach the manager at this wss:// URL, not by the API server' },
    { flags: '--install', does: 'put the traffic manager there if it is missing' },
    IMAGE,
    output('json', 'yaml'),
  ],
  load: () => import('./connect.js'),
};

const DISCONNECT: CommandSpec = {
  name: 'disconnect',
  summary: 'undo all of it, on the laptop and in the cluster',
  examples: [{ line: 'cz disconnect', does: 'leave the cluster; fine when nothing is connected' }],
  options: [output('json', 'yaml')],
  load: () => import('./disconnect.js'),
};

const STATUS: CommandSpec = {
  name: 'status',
  summary: 'what is connected, by which way, since when',
  examples: [
    { line: 'cz status', does: 'for people' },
    { line: 'cz status -o json', does: 'for programs; valid JSON in every state' },
  ],
  options: [output('json', 'yaml', 'wide', 'name')],
  load: () => import('./status.js'),
};

const INSTALL: CommandSpec = {
  name: 'install',
  summary: 'put the traffic manager into the cluster, or bring it to this version',
  examples: [
    { line: 'cz install', does: "install into the kubeconfig's current context" },
    { line: 'cz install --print', does: 'show the manifests instead' },
    { line: 'cz install --allow-group developers', does: 'let the members of a group connect' },
  ],
  options: [
    { flags: '--print', does: 'show the manifests and change nothing' },
    CONTEXT,
    KUBECONFIG,
    MANAGER_NAMESPACE,
    IMAGE,
    { flags: '--only-namespaces <names>', does: 'look into these namespaces alone (comma-separated)' },
    { flags: '--allow-group <group>', does: 'members of this group may connect', repeat: true },
    { flags: '--also-route <net>', does: 'a CIDR that laptops may reach through the manager', repeat: true },
    { flags: '--node-addresses', does: 'laptops may reach the addresses of nodes' },
    { flags: '--no-node-addresses', does: 'laptops may not (the default)' },
  ],
  load: () => import('./install-command.js'),
};

const UNINSTALL: CommandSpec = {
  name: 'uninstall',
  summary: 'end every session and remove the traffic manager',
  examples: [{ line: 'cz uninstall', does: "remove it from the kubeconfig's current context" }],
  options: [CONTEXT, KUBECONFIG, MANAGER_NAMESPACE],
  load: () => import('./uninstall-command.js'),
};

const DOCTOR: CommandSpec = {
  name: 'doctor',
  summary: 'find what is wrong on the laptop, on the way, in the cluster',
  examples: [
    { line: 'cz doctor', does: 'look, and say the next step for each finding' },
    { line: 'sudo cz doctor --fix', does: "mend what is the laptop's" },
  ],
  options: [
    { flags: '--fix', does: "mend what is the laptop's" },
    CONTEXT,
    KUBECONFIG,
    MANAGER_NAMESPACE,
    output('json', 'yaml', 'wide'),
  ],
  load: () => import('./doctor.js'),
};

const LOGS: CommandSpec = {
  name: 'logs',
  summary: 'the logs of both ends',
  examples: [
    { line: 'cz logs', does: "the daemon's and the traffic manager's" },
    { line: 'cz logs --daemon -f', does: "follow the daemon's" },
  ],
  options: [
    { flags: '-f, --follow', does: "go on as the daemon's log grows" },
    { flags: '--tail <lines>', does: 'at most so many lines of each (default 100)' },
    { flags: '--daemon', does: "the daemon's alone" },
    { flags: '--manager', does: "the manager's alone" },
    CONTEXT,
    KUBECONFIG,
    MANAGER_NAMESPACE,
    output('json'),
  ],
  load: () => import('./logs.js'),
};

const COMPLETION: CommandSpec = {
  name: 'completion',
  summary: 'print the completion script of a shell',
  args: [{ name: 'SHELL', choices: ['bash', 'zsh', 'fish'] }],
  examples: [
    { line: 'source <(cz completion bash)', does: 'for this bash' },
    { line: 'cz completion zsh > "${fpath[1]}/_cz"', does: 'for every zsh from now on' },
    { line: 'cz completion fish > ~/.config/fish/completions/cz.fish', does: 'for every fish from now on' },
  ],
  options: [],
  load: () => import('./completion.js'),
};

const VERSION: CommandSpec = {
  name: 'version',
  summary: 'the versions of both ends, and whether they fit',
  examples: [
    { line: 'cz version', does: 'of this program, the daemon and the traffic manager' },
    { line: 'cz version --client', does: 'of this program alone' },
  ],
  options: [{ flags: '--client', does: 'this program alone; asks nobody' }, output('json', 'yaml')],
  load: () => import('./version.js'),
};

/** In the order of the help. */
export const COMMANDS: readonly CommandSpec[] = [
  CONNECT,
  DISCONNECT,
  STATUS,
  INSTALL,
  UNINSTALL,
  DOCTOR,
  LOGS,
  COMPLETION,
  VERSION,
];
