import { Argument, Command } from 'commander';
import { bashCompletion, fishCompletion, zshCompletion } from './completionScripts.js';
import { addExamples } from './examples.js';
import { addInventoryOption, inventoryClusters } from './options.js';
import { completable } from './completable.js';

const SCRIPTS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;
type Shell = keyof typeof SCRIPTS;

/** `completion <shell>`: a script by which a shell completes this command line. */
export function completionCommand(): Command {
  const command = new Command('completion')
    .description(
      'print the script by which a shell completes the command federator; clusters: the names that it offers, one a line',
    )
    .addArgument(new Argument('<shell>', 'the shell').choices([...Object.keys(SCRIPTS), 'clusters']))
    .action(async (shell: Shell | 'clusters', { inventory }: { inventory?: string }, self: Command) => {
      if (shell === 'clusters') for (const name of await inventoryClusters(inventory)) console.log(name);
      else process.stdout.write(SCRIPTS[shell](completable(self.parent ?? self)));
    });
  return addExamples(addInventoryOption(command), 'npm link', 'source <(federator completion bash)');
}
