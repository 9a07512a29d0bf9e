/**
 * `cz completion`: a script for bash, zsh or fish, made from the commands' data: commands, flags and their choices.
 */
import { CzError, EXIT } from '../base/errors.js';
import type { CommandContext, CommandSpec, OptionSpec } from './command.js';
import { COMMANDS, COMMON_OPTIONS } from './commands.js';

const SHELLS: Readonly<Record<string, (commands: readonly CommandSpec[]) => string>> = {
  bash: formatBash,
  zsh: formatZsh,
  fish: formatFish,
};

/** Runs the command. */
export async function run({ args, ui }: CommandContext): Promise<number> {
  const [shell = ''] = args;
  const format = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
  if (format === undefined) {
    const names = Object.keys(SHELLS).join(', ');
    throw new CzError('USAGE', shell === '' ? 'no shell named' : `no completion for "${shell}"`, {
      hint: `one of: ${names}`,
    });
  }
  ui.answer(format(COMMANDS));
  return EXIT.ok;
}

interface Flag {
  readonly long: string;
  readonly short: string | undefined;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  readonly does: string;
}

function flagsOf({ options }: CommandSpec): Flag[] {
  return [...options, ...COMMON_OPTIONS, HELP].map(({ flags, does, choices = [] }) => ({
    long: /--([a-z-]+)/.exec(flags)?.[1] ?? '',
    short: /^-([a-z])\b/.exec(flags)?.[1],
    takesValue: flags.includes('<'),
    choices,
    does,
  }));
}

const HELP: OptionSpec = { flags: '--help', does: 'tell more about the command' };

function wordsOf(spec: CommandSpec): string {
  const flags = flagsOf(spec).flatMap(namesOf);
  return [...flags, ...(spec.args ?? []).flatMap(({ choices }) => choices)].join(' ');
}

function namesOf({ long, short }: Flag): string[] {
  return short === undefined ? [`--${long}`] : [`--${long}`, `-${short}`];
}

/** bash(1), Programmable Completion. After `--` the words are those of the command to run. */
function formatBash(commands: readonly CommandSpec[]): string {
  const words = commands.map((spec) => `    ${spec.name}) words='${wordsOf(spec)}' ;;`);
  const values = commands.flatMap((spec) =>
    flagsOf(spec)
      .filter(({ takesValue }) => takesValue)
      .map(({ long, short, choices }) => {
        const pattern = [
          `${spec.name}:--${long}`,
          ...(short === undefined ? [] : [`${spec.name}:-${short}`]),
        ].join('|');
        const reply =
          choices.length > 0
            ? `COMPREPLY=($(compgen -W '${choices.join(' ')}' -- "$word"))`
            : fileReply(long);
        return `    ${pattern}) ${reply}; return ;;`;
      }),
  );
  return `# bash completion of cz: source <(cz completion bash)
_cz() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} command='' words='' at
  for ((at = 1; at < COMP_CWORD; at++)); do
    if [[ \${COMP_WORDS[at]} == -- ]]; then
      COMPREPLY=($(compgen -c -- "$word")); return
    fi
    [[ -z $command && \${COMP_WORDS[at]} != -* ]] && command=\${COMP_WORDS[at]}
  done
  case $command:$before in
${values.join('\n')}
  esac
  case $command in
    '') words='${commands.map(({ name }) => name).join(' ')}' ;;
${words.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _cz cz kubectl-cz
`;
}

function fileReply(long: string): string {
  return long === 'kubeconfig' ? 'COMPREPLY=($(compgen -f -- "$word"))' : 'COMPREPLY=()';
}

/** zshcompsys(1), _arguments and _describe. */
function formatZsh(commands: readonly CommandSpec[]): string {
  const names = commands.map(({ name, summary }) => `    '${name}:${zshText(summary)}'`);
  const cases = commands.map((spec) => {
    const flags = flagsOf(spec).flatMap((flag) => zshFlag(flag));
    const args = (spec.args ?? []).map(({ name, choices }) => `'1:${name}:(${choices.join(' ')})'`);
    const command =
      spec.takesCommand === true ? [`'(-)1:command:_command_names -e' '*::arguments:_normal'`] : [];
    return `    ${spec.name}) _arguments -s ${[...flags, ...args, ...command].join(' ')} ;;`;
  });
  return `#compdef cz kubectl-cz
_cz() {
  local -a cz_commands
  cz_commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe 'command' cz_commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
if [[ $funcstack[1] == _cz ]]; then _cz "$@"; else compdef _cz cz kubectl-cz; fi
`;
}

function zshFlag({ long, short, takesValue, choices, does }: Flag): string[] {
  const action = long === 'kubeconfig' ? '_files' : choices.length > 0 ? `(${choices.join(' ')})` : ' ';
  const value = takesValue ? `:${long}:${action}` : '';
  const names = [`--${long}`, ...(short === undefined ? [] : [`-${short}`])];
  return names.map((name) => `'*${name}[${zshText(does)}]${value}'`);
}

function zshText(text: string): string {
  return text.replaceAll(/['[\]:\\]/g, ' ');
}

/** complete(1) of fish. */
function formatFish(commands: readonly CommandSpec[]): string {
  const lines = commands.flatMap((spec) => {
    const seen = `-n '__fish_seen_subcommand_from ${spec.name}'`;
    const flags = flagsOf(spec).map(({ long, short, takesValue, choices, does }) => {
      const value = !takesValue
        ? ''
        : choices.length > 0
          ? ` -x -a '${choices.join(' ')}'`
          : long === 'kubeconfig'
            ? ' -r -F'
            : ' -x';
      return `complete -c cz ${seen} -l ${long}${short === undefined ? '' : ` -s ${short}`}${value} -d '${fishText(does)}'`;
    });
    const args = (spec.args ?? []).map(({ choices }) => `complete -c cz ${seen} -a '${choices.join(' ')}'`);
    return [
      `complete -c cz -n __fish_use_subcommand -a ${spec.name} -d '${fishText(spec.summary)}'`,
      ...flags,
      ...args,
    ];
  });
  return `# fish completion of cz\ncomplete -c cz -f\n${lines.join('\n')}\ncomplete -c kubectl-cz -w cz\n`;
}

function fishText(text: string): string {
  return text.replaceAll(/['\\]/g, (char) => `\\${char}`);
}
