import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { FastifyInstance, HTTPMethods } from 'fastify';
import { stringify } from 'yaml';
import type { Grant } from '../../src/access/principal.js';
import { newToken, TokenFile } from '../../src/access/tokens.js';
import { AuditLog } from '../../src/api/audit.js';
import type { ApiContext } from '../../src/api/context.js';
import { IdempotencyKeys } from '../../src/api/idempotency.js';
import { buildServer } from '../../src/api/server.js';
import type { FederatorClient } from '../../src/client.js';
import { KeyRing } from '../../src/encryption/keyRing.js';
import { payloadEncryption } from '../../src/encryption/payloadEncryption.js';
import { FileStore } from '../../src/store/fileStore.js';
import { InventoryFile } from '../../src/store/inventoryFile.js';

const ADMIN: Grant = { role: 'admin', federation: '*' };

interface Options {
  /** What Temporal would say, as far as a test asks for it. */
  client?: Partial<FederatorClient>;
  /** Clusters of the inventory file. */
  clusters?: readonly string[];
  /** Who has a token, besides `admin`. */
  grants?: Readonly<Record<string, readonly Grant[]>>;
  context?: Partial<ApiContext>;
}

interface Asked {
  body?: object;
  /** Whose token it carries. */
  by?: string;
  headers?: Record<string, string>;
}

/** The HTTP API with files of its own and no Temporal: for what it decides itself. */
export class ApiServer {
  private constructor(
    readonly folder: string,
    readonly app: FastifyInstance,
    readonly store: FileStore,
    readonly tokens: ReadonlyMap<string, string>,
  ) {}

  static async start({ client = {}, clusters = [], grants = {}, context = {} }: Options = {}): Promise<ApiServer> {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'api-unit-'));
    const inventory = path.join(folder, 'inventory.yaml');
    const kubeconfig = { path: 'nowhere' };
    writeFileSync(inventory, stringify({ clusters: clusters.map((name) => ({ name, kubeconfig })) }));
    const store = new FileStore(
      path.join(folder, 'clusters'),
      KeyRing.parse(`k1:${Buffer.alloc(32, 7).toString('base64')}`, 'keys'),
    );
    const tokensFile = path.join(folder, 'tokens.yaml');
    const tokens = writeTokens(tokensFile, { admin: [ADMIN], ...grants });
    const audit = new AuditLog(path.join(folder, 'audit.jsonl'));
    await audit.start();
    const app = await buildServer(
      {
        client: client as FederatorClient,
        store,
        inventoryFile: clusters.length === 0 ? undefined : new InventoryFile(inventory),
        tokens: new TokenFile(tokensFile),
        audit,
        codec: payloadEncryption({}).codec,
        webUi: 'http://127.0.0.1:8233',
        idempotency: new IdempotencyKeys(),
        requestsPerSecond: 1_000,
        ...context,
      },
      { level: 'silent' },
    );
    return new ApiServer(folder, app, store, tokens);
  }

  async ask(method: HTTPMethods, url: string, { body, by = 'admin', headers = {} }: Asked = {}) {
    const { statusCode: status, ...answer } = await this.app.inject({
      method: method as 'GET',
      url,
      headers: { authorization: `Bearer ${this.tokens.get(by) ?? by}`, ...headers },
      ...(body === undefined ? {} : { payload: body }),
    });
    return {
      status,
      headers: answer.headers,
      body: answer.body === '' ? undefined : (JSON.parse(answer.body) as unknown),
    };
  }

  get auditFile(): string {
    return path.join(this.folder, 'audit.jsonl');
  }

  async stop(): Promise<void> {
    await this.app.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** @returns the tokens by their names */
function writeTokens(file: string, grants: Readonly<Record<string, readonly Grant[]>>): Map<string, string> {
  const made = Object.entries(grants).map(([name, given]) => ({ name, grants: given, ...newToken() }));
  writeFileSync(file, stringify({ tokens: made.map(({ token: _token, ...known }) => known) }));
  return new Map(made.map(({ name, token }) => [name, token]));
}
