import { spawn } from 'node:child_process';
import path from 'node:path';
import { projectRoot } from '../projectRoot.js';

/**
 * Builds a module of the catalogue that the cache does not have, saying how far it is: `npm run tools -- <module>`.
 * @throws Error when that fails, which has said why by then
 */
export async function buildTool(module: string): Promise<void> {
  const script = path.join(projectRoot(), 'scripts', 'run.mjs');
  const build = spawn(process.execPath, [script, 'tools', module], { stdio: 'inherit' });
  const code = await new Promise<number>((resolve, reject) => {
    build.once('error', reject);
    build.once('exit', (status) => resolve(status ?? 1));
  });
  if (code !== 0) throw new Error(`${module} could not be built.`);
}
