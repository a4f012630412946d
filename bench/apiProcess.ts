import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { newToken } from '../src/access/tokens.js';
import { startProcess, stopProcess } from './engine.js';

/** The HTTP API as a process of its own, on the Temporal server and the inventory of an engine that runs. */
export interface ApiProcess {
  url: string;
  /** Of an admin. */
  token: string;
  process: ChildProcess;
}

/** Runs with an API. @param folder of its files */
export async function withApi<T>(folder: string, work: (api: ApiProcess) => Promise<T>): Promise<T> {
  mkdirSync(folder, { recursive: true });
  const tokens = path.join(folder, 'tokens.yaml');
  const { token, sha256 } = newToken();
  const grants = [{ role: 'admin', federation: '*' }];
  writeFileSync(tokens, stringify({ tokens: [{ name: 'bench', sha256, grants }] }));
  const { child, line } = await startProcess(path.join('dist', 'src', 'api', 'main.js'), 'API on', {
    SPIRE_FEDERATOR_API_ADDRESS: '127.0.0.1:0',
    SPIRE_FEDERATOR_API_TOKENS: tokens,
    SPIRE_FEDERATOR_AUDIT_LOG: path.join(folder, 'audit.jsonl'),
  });
  try {
    const [, url = ''] = /^API on (\S+)/.exec(line) ?? [];
    return await work({ url, token, process: child });
  } finally {
    await stopProcess(child);
  }
}
