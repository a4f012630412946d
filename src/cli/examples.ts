import type { Command } from 'commander';

const EXAMPLES = new WeakMap<Command, readonly string[]>();

/** Shows, below a command's options, how it is called. */
export function addExamples(command: Command, ...examples: string[]): Command {
  EXAMPLES.set(command, examples);
  const title = examples.length === 1 ? 'Example' : 'Examples';
  return command.addHelpText('after', ['', `${title}:`, ...examples.map((each) => `  ${each}`)].join('\n'));
}

/** How a command is called; none where nothing was said. */
export function examplesOf(command: Command): readonly string[] {
  return EXAMPLES.get(command) ?? [];
}
