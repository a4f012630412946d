import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * Processes share this machine's files, so a command that exec runs would look for a mount's path in vain. These commands
 * look where the mount really is, as SANDBOX_MOUNTS of the container tells (`path=folder:path=folder`).
 */
const COMMANDS = ['cat'];

const script = (command: string) => `#!/bin/sh
count=$#
while [ "$count" -gt 0 ]; do
  argument=$1
  shift
  IFS=:
  for mount in $SANDBOX_MOUNTS; do
    case $argument in "\${mount%%=*}"/*) argument=\${mount#*=}\${argument#"\${mount%%=*}"} ;; esac
  done
  unset IFS
  set -- "$@" "$argument"
  count=$((count - 1))
done
# The container's own PATH does not lead here.
exec ${command} "$@"
`;

/** Writes the commands. @returns the folder to put first in the PATH of what serves exec */
export function writeExecCommands(directory: string): string {
  const folder = path.join(directory, 'exec');
  mkdirSync(folder, { recursive: true });
  for (const command of COMMANDS) {
    writeFileSync(path.join(folder, command), script(command));
    chmodSync(path.join(folder, command), 0o755);
  }
  return folder;
}
