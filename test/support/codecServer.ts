import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Payload } from '@temporalio/common';
import type { FastifyInstance } from 'fastify';
import { stringify } from 'yaml';
import { newToken, TokenFile } from '../../src/access/tokens.js';
import { AuditLog } from '../../src/api/audit.js';
import { IdempotencyKeys } from '../../src/api/idempotency.js';
import { buildServer } from '../../src/api/server.js';
import type { FederatorClient } from '../../src/client.js';
import type { EncryptionCodec } from '../../src/encryption/payloadCodec.js';

const WEB_UI = 'http://127.0.0.1:8233';
const TOKENS = { operator: newToken(), viewer: newToken(), approver: newToken(), local: newToken() };
const grants = {
  operator: [{ role: 'operator', federation: '*' }],
  viewer: [{ role: 'viewer', federation: '*' }],
  approver: [{ role: 'approver', federation: '*' }],
  local: [{ role: 'operator', federation: 'one' }],
};
type Caller = keyof typeof TOKENS;

/** The API as far as the Temporal Web UI uses it as a codec server; it asks Temporal for nothing. */
export class CodecServer {
  private constructor(
    private readonly app: FastifyInstance,
    private readonly folder: string,
  ) {}

  static async start(codec: EncryptionCodec): Promise<CodecServer> {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'codec-server-'));
    const file = path.join(folder, 'tokens.yaml');
    const tokens = (Object.keys(TOKENS) as Caller[]).map((name) => ({
      name,
      sha256: TOKENS[name].sha256,
      grants: grants[name],
    }));
    writeFileSync(file, stringify({ tokens }));
    const app = await buildServer(
      {
        client: {} as FederatorClient,
        tokens: new TokenFile(file),
        audit: new AuditLog(path.join(folder, 'audit.jsonl')),
        idempotency: new IdempotencyKeys(),
        requestsPerSecond: 100,
        codec,
        webUi: `${WEB_UI}/some/path`,
      },
      { level: 'silent' },
    );
    return new CodecServer(app, folder);
  }

  async stop(): Promise<void> {
    await this.app.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async preflight(origin = WEB_UI) {
    const headers = { origin, 'access-control-request-method': 'POST' };
    return this.app.inject({ method: 'OPTIONS', url: '/v1/codec/decode', headers });
  }

  async decode(body: unknown, { as = 'operator', origin = WEB_UI }: { as?: Caller | null; origin?: string } = {}) {
    return this.app.inject({
      method: 'POST',
      url: '/v1/codec/decode',
      headers: {
        origin,
        'content-type': 'application/json',
        'x-namespace': 'default',
        ...(as === null ? {} : { authorization: `Bearer ${TOKENS[as].token}` }),
      },
      payload: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  /** What the Web UI would show of payloads. */
  async texts(payloads: readonly Payload[]): Promise<string[]> {
    const answer = await this.decode({ payloads: payloads.map(payloadJson) });
    const decoded = answer.json<{ payloads: { data: string }[] }>();
    return decoded.payloads.map(({ data }) => Buffer.from(data, 'base64').toString('utf8'));
  }
}

/** As protobuf writes it in JSON. */
export function payloadJson({ metadata, data }: Payload) {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  return {
    metadata: Object.fromEntries(Object.entries(metadata ?? {}).map(([name, value]) => [name, base64(value)])),
    data: base64(data ?? new Uint8Array()),
  };
}
