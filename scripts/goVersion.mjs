import { requiredGoVersion } from '../sandbox/tools/catalog.mjs';
import { UserError } from './progress.mjs';
import { capture } from './runChild.mjs';

/**
 * @throws {UserError} when Go is missing, or older than the newest version that a tool's go.mod asks for
 */
export async function requireGo() {
  const needed = requiredGoVersion();
  const hint = `Go ${needed} or newer is needed to build the sandbox's tools`;
  let version;
  try {
    version = (await capture('go', ['env', 'GOVERSION'], { env: { ...process.env, GOTOOLCHAIN: 'local' } })).stdout;
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${hint}; no go was found on the PATH`);
    throw error;
  }
  const found = version.trim().replace(/^go/, '');
  if (isOlder(found, needed)) throw new UserError(`${hint}; this is ${found}`);
}

function isOlder(version, minimum) {
  return version.localeCompare(minimum, 'en', { numeric: true }) < 0;
}
