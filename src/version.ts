import { existsSync, readFileSync } from 'node:fs';

/** Above here as a source, two folders up as compiled, below dist. */
const PLACES = ['../package.json', '../../package.json'];

/** The version of this package. */
export function ownVersion(): string {
  const file = PLACES.map((each) => new URL(each, import.meta.url)).find((each) => existsSync(each));
  if (file === undefined) throw new Error('package.json is missing: the installation is incomplete');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
