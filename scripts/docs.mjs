import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { projectRoot } from './cache.mjs';

/** Writes the part of docs/ that comes from the code. */
export async function writeDocs() {
  const { commandReference } = await import('../dist/src/cli/commandReference.js');
  const { federatorProgram } = await import('../dist/src/cli/program.js');
  writeFileSync(path.join(projectRoot, 'docs', 'commands.md'), commandReference(federatorProgram()));
}
