import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { projectRoot } from './cache.mjs';
import { say } from './progress.mjs';
import { foreground } from './runChild.mjs';
import { toolManifest } from '../sandbox/tools/catalog.mjs';

const defaultAddress = '127.0.0.1:7233';
/** As declared in src/contract: what a federation's workflows can be searched by. */
const searchAttributes = ['Federation=Keyword', 'TrustDomain=Keyword', 'Verdict=Keyword'];

/**
 * Runs Temporal's dev server with its Web UI in the foreground; what it knows is kept in .temporal/.
 * @param {string[]} args `--port N`, `--ui-port N` (default: port + 1000); anything else is the server's own
 */
export async function runTemporal(args) {
  const { values } = parseArgs({
    args,
    options: {
      port: { type: 'string', short: 'p' },
      'ui-port': { type: 'string' },
      'db-filename': { type: 'string', short: 'f' },
    },
    strict: false,
  });
  const address = process.env.TEMPORAL_ADDRESS || defaultAddress;
  const port = values.port ?? address.slice(address.lastIndexOf(':') + 1);
  const uiPort = values['ui-port'] ?? String(Number(port) + 1000);
  const folder = path.join(projectRoot, '.temporal');
  mkdirSync(folder, { recursive: true });
  const defaults = [
    ...(values.port ? [] : ['--port', port]),
    ...(values['ui-port'] ? [] : ['--ui-port', uiPort]),
    ...(values['db-filename'] ? [] : ['--db-filename', path.join(folder, `temporal-${port}.db`)]),
    ...searchAttributes.flatMap((attribute) => ['--search-attribute', attribute]),
  ];
  say(`Temporal at 127.0.0.1:${port}, Web UI at http://127.0.0.1:${uiPort}`);
  const { temporal } = toolManifest().tools;
  const fixed = ['server', 'start-dev', '--ip', '127.0.0.1', '--log-level', 'error'];
  return foreground(temporal, [...fixed, ...defaults, ...args]);
}
