import type { Command, Option } from 'commander';
import { allCommands } from './commandTree.js';

/** What an option is followed by: one of some words, clusters, a file, or what nobody can guess. */
export type Value = readonly string[] | 'clusters' | 'file' | 'any';

/** An option as shells complete it. */
export interface CompletableOption {
  long: string;
  short?: string;
  description: string;
  /** Absent: nothing follows it. */
  value?: Value;
}

/** A command as shells complete it. */
export interface CompletableCommand {
  /** e.g. "monitor pause"; empty for the program. */
  path: string;
  description: string;
  subcommands: { name: string; description: string }[];
  options: CompletableOption[];
  /** What its arguments can be. */
  words: readonly string[];
  /** Whether its arguments are clusters. */
  takesClusters: boolean;
}

/** Arguments and options that stand for clusters of the inventory, by what they are called. */
const CLUSTERS = /^(clusters?|hub|rotate)$/;

/** The whole program as shells complete it. */
export function completable(program: Command): CompletableCommand[] {
  return allCommands(program).map(({ path, command }) => ({
    path,
    description: firstLine(command.description()),
    subcommands: command.commands.map((each) => ({ name: each.name(), description: firstLine(each.description()) })),
    options: command.options.map(completableOption),
    words: command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices),
    takesClusters: command.registeredArguments.some((each) => CLUSTERS.test(each.name())),
  }));
}

function completableOption(option: Option): CompletableOption {
  const { long = '', short, description } = option;
  const value = valueOf(option);
  return {
    long,
    description: firstLine(description),
    ...(short === undefined ? {} : { short }),
    ...(value === undefined ? {} : { value }),
  };
}

function valueOf({ required, optional, argChoices, flags, long = '' }: Option): Value | undefined {
  if (!required && !optional) return undefined;
  if (argChoices !== undefined) return argChoices;
  if (CLUSTERS.test(long.replace(/^--/, ''))) return 'clusters';
  return /<(file|path)>/.test(flags) ? 'file' : 'any';
}

/** Descriptions are shown on one line each. */
function firstLine(text: string): string {
  return text.split(/[\n;]/)[0]?.trim() ?? '';
}
