import type { Command } from 'commander';

/** A command with the words by which it is called. */
export interface NamedCommand {
  /** e.g. "monitor pause"; empty for the program itself. */
  path: string;
  command: Command;
}

/** The program and everything below it, in the order of its help. */
export function allCommands(program: Command): NamedCommand[] {
  const below = ({ path, command }: NamedCommand): NamedCommand[] => [
    { path, command },
    ...command.commands.flatMap((each) => below({ path: `${path} ${each.name()}`.trim(), command: each })),
  ];
  return below({ path: '', command: program });
}

/** Commands that do something, not only hold others. */
export function leafCommands(program: Command): NamedCommand[] {
  return allCommands(program).filter(({ command }) => command.commands.length === 0);
}

/** The words by which a command is called, without its arguments: "federator monitor pause". */
export function commandLine(command: Command): string {
  return command.parent === null ? command.name() : `${commandLine(command.parent)} ${command.name()}`;
}
