import type { Command } from 'commander';
import { leafCommands, type NamedCommand } from './commandTree.js';
import { examplesOf } from './examples.js';

/** Of the lines of the commands' help. */
const HELP_WIDTH = 110;

/** docs/commands.md: all commands as a table, and the help of each. */
export function commandReference(program: Command): string {
  const commands = leafCommands(program);
  const rows = commands.map(({ path, command }) => [
    `[\`${path}\`](#${path.replaceAll(' ', '-')})`,
    cell(command.description()),
    examplesOf(command)
      .slice(0, 1)
      .map((each) => `\`${cell(each)}\``)
      .join(),
  ]);
  return `# Commands

Written by \`npm run docs\` from the commands themselves. Every command is called as \`npm run federator -- <command>\`;
\`npm run start-workflow <name> -- <options>\` is short for \`npm run federator -- start-workflow <name> <options>\`.

${table(['command', 'what it does', 'example'], rows)}

## What they have in common

- \`-o table\` is for people, \`-o json\` and \`-o yaml\` print the result alone, for programs; \`--json\` is the same as
  \`-o json\`. Progress and errors go to standard error. Colours are for terminals, and not where \`NO_COLOR\` is set.
- A command that starts a change follows it to its end. \`--no-wait\` returns at once, \`--timeout 10m\` after ten minutes at the
  latest, and Ctrl-C whenever you like: the change goes on, \`attach\` follows it again, and only \`cancel\` stops it.
- \`completion\` makes bash, zsh and fish complete commands, options and clusters.

${table(['exit code', 'meaning'], EXIT_CODE_ROWS)}

${commands.map(section).join('\n\n')}
`;
}

const EXIT_CODE_ROWS = [
  ['0', 'it was done, or all is well'],
  ['1', 'it failed or was refused, the command was wrong, or something is wrong with what was looked at'],
  ['2', '`status`, `diagnose`, `repair`, `clusters`: it could not be looked, so nothing is known to be well'],
  ['3', '`--timeout` has passed: the change goes on'],
];

function section({ path, command }: NamedCommand): string {
  return `## ${path}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\``;
}

/** What `--help` prints, of a width of its own and without colours. */
export function helpOf(command: Command): string {
  let help = '';
  command
    .configureOutput({
      writeOut: (text) => (help += text),
      getOutHelpWidth: () => HELP_WIDTH,
      getOutHasColors: () => false,
    })
    .outputHelp();
  return help.trim();
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<');
}

/** A table with columns of one width, as prettier would have it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((each, column) => each.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
