import type { CompletableCommand, CompletableOption, Value } from './completable.js';

/** Prints the names of the inventory's clusters; nothing where there is no inventory. */
const CLUSTERS = '$(federator completion clusters 2>/dev/null)';

/** For `source <(federator completion bash)`. */
export function bashCompletion(commands: readonly CompletableCommand[]): string {
  return `# bash completion of federator: source <(federator completion bash)
_federator() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" at='' each words='' prefix=''
  for each in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at $each" in
      ${pathPattern(commands)}) at="\${at:+$at }$each" ;;
    esac
  done
  case "$at $previous" in
${valueCases(commands, {
  any: 'COMPREPLY=(); return',
  file: 'mapfile -t COMPREPLY < <(compgen -f -- "$current"); return',
  clusters: `words="${CLUSTERS}"`,
  words: (each) => `words=${quoted(each.join(' '))}`,
})}
    *)
      case "$at" in
${wordCases(commands, (each) => `words=${each}`)}
      esac ;;
  esac
  # Several clusters are separated by commas.
  if [[ $current == *,* ]]; then prefix="\${current%,*},"; fi
  mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$words" -- "\${current##*,}")
}
complete -F _federator federator
`;
}

/** For `source <(federator completion zsh)`, after compinit. */
export function zshCompletion(commands: readonly CompletableCommand[]): string {
  return `#compdef federator
# zsh completion of federator: source <(federator completion zsh), after compinit
_federator() {
  local previous="\${words[CURRENT-1]}" at='' each offered=''
  for each in "\${(@)words[2,CURRENT-1]}"; do
    case "$at $each" in
      (${pathPattern(commands)}) at="\${at:+$at }$each" ;;
    esac
  done
  case "$at $previous" in
${valueCases(commands, {
  any: 'return',
  file: '_files; return',
  clusters: `compset -P '*,'; offered="${CLUSTERS}"`,
  words: (each) => `offered=${quoted(each.join(' '))}`,
})}
    *)
      case "$at" in
${wordCases(commands, (each) => `offered=${each}`)}
      esac ;;
  esac
  compadd -- \${=offered}
}
compdef _federator federator
`;
}

/** For `federator completion fish | source`. */
export function fishCompletion(commands: readonly CompletableCommand[]): string {
  const lines = commands.flatMap((command) => {
    const at = `complete -c federator -n ${quoted(`test (__federator_at) = "${command.path}"`)}`;
    return [
      ...command.subcommands.map(({ name, description }) => `${at} -a ${name} -d ${fishQuoted(description)}`),
      ...command.words.map((word) => `${at} -a ${word}`),
      ...(command.takesClusters ? [`${at} -a '(federator completion clusters 2>/dev/null)'`] : []),
      ...command.options.map((option) => `${at} ${fishOption(option)} -d ${fishQuoted(option.description)}`),
    ];
  });
  return `# fish completion of federator: federator completion fish | source
function __federator_at
  set -l at ''
  for each in (commandline -opc)[2..-1]
    switch "$at $each"
      case ${paths(commands).map(quoted).join(' ')}
        set at (string trim "$at $each")
    end
  end
  echo $at
end
complete -c federator -f
${lines.join('\n')}
`;
}

interface Values {
  any: string;
  file: string;
  clusters: string;
  words: (words: readonly string[]) => string;
}

/** Every command below the program as "<path of its parent> <name>": what is looked for word by word. */
function paths(commands: readonly CompletableCommand[]): string[] {
  return commands.flatMap(({ path, subcommands }) => subcommands.map(({ name }) => `${path} ${name}`));
}

function pathPattern(commands: readonly CompletableCommand[]): string {
  return paths(commands).map(quoted).join(' | ');
}

/** What is offered after an option that takes something: a case of a shell's for every kind. */
function valueCases(commands: readonly CompletableCommand[], values: Values): string {
  const cases = new Map<string, string[]>();
  for (const { path, options } of commands) {
    for (const { long, short, value } of options) {
      if (value === undefined) continue;
      const done = typeof value === 'string' ? values[value] : values.words(value);
      const patterns = [long, ...(short === undefined ? [] : [short])].map((flag) => quoted(`${path} ${flag}`));
      cases.set(done, [...(cases.get(done) ?? []), ...patterns]);
    }
  }
  return [...cases].map(([done, patterns]) => `    ${patterns.join(' | ')}) ${done} ;;`).join('\n');
}

/** What is offered elsewhere: subcommands, words for arguments, options. */
function wordCases(commands: readonly CompletableCommand[], done: (words: string) => string): string {
  return commands
    .map(({ path, subcommands, words, options, takesClusters }) => {
      const offered = [
        ...subcommands.map(({ name }) => name),
        ...words,
        ...options.flatMap(({ long, short }) => [long, ...(short === undefined ? [] : [short])]),
        '--help',
        ...(takesClusters ? [CLUSTERS] : []),
      ];
      return `        ${quoted(path)}) ${done(`"${offered.join(' ')}"`)} ;;`;
    })
    .join('\n');
}

function fishOption({ long, short, value }: CompletableOption): string {
  const flags = [`-l ${long.slice(2)}`, ...(short === undefined ? [] : [`-s ${short.slice(1)}`])].join(' ');
  return value === undefined ? flags : `${flags} ${fishValue(value)}`;
}

function fishValue(value: Value): string {
  if (value === 'any') return '-x';
  if (value === 'file') return '-r -F';
  return value === 'clusters'
    ? "-x -a '(federator completion clusters 2>/dev/null)'"
    : `-x -a ${quoted(value.join(' '))}`;
}

/** A word of a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A word of fish. */
function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
