import { Option, type Command } from 'commander';
import { stringify } from 'yaml';

/** How a command prints its result: for people, or for programs. */
export const FORMATS = ['table', 'json', 'yaml'] as const;
export type Format = (typeof FORMATS)[number];

/** As commander gives them; absent: table. */
export interface OutputOptions {
  output?: Format;
}

/** Gives a command `-o table|json|yaml`, and `--json` as another name for `-o json`. */
export function addOutputOption(command: Command): Command {
  return command
    .addOption(new Option('-o, --output <format>', 'how to print the result').choices(FORMATS).default('table'))
    .addOption(new Option('--json', 'the same as -o json').implies({ output: 'json' }));
}

/** Whether people read it: then progress and hints are printed, too. */
export function isTable({ output = 'table' }: OutputOptions): boolean {
  return output === 'table';
}

/**
 * Prints a command's result on standard output, as it was asked for.
 * @param table prints it for people
 */
export function printResult(result: unknown, { output = 'table' }: OutputOptions, table: () => void): void {
  if (output === 'table') table();
  else process.stdout.write(encoded(result, output));
}

/** A result as JSON or YAML, with a newline at its end. */
export function encoded(result: unknown, format: Exclude<Format, 'table'>): string {
  if (format === 'json') return `${JSON.stringify(result, undefined, 2)}\n`;
  // Whole lines, and every value where it belongs: both are also read by line-wise tools.
  return stringify(result, { lineWidth: 0, aliasDuplicateObjects: false });
}
