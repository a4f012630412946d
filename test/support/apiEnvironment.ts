import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { stringify } from 'yaml';
import { Clusters } from '../../src/activities/clusters.js';
import { onboardingActivities } from '../../src/activities/onboarding.js';
import { regionActivities } from '../../src/activities/regions.js';
import { OidcTokens } from '../../src/access/oidc.js';
import type { Role } from '../../src/access/principal.js';
import { newToken, TokenFile } from '../../src/access/tokens.js';
import { AuditLog } from '../../src/api/audit.js';
import { IdempotencyKeys } from '../../src/api/idempotency.js';
import { buildServer } from '../../src/api/server.js';
import { FederatorClient } from '../../src/client.js';
import { KeyRing } from '../../src/encryption/keyRing.js';
import { payloadEncryption } from '../../src/encryption/payloadEncryption.js';
import { FileStore } from '../../src/store/fileStore.js';
import { InventoryFile } from '../../src/store/inventoryFile.js';
import { Issuer } from './issuer.js';
import type { RecordedActivities } from './recordedActivities.js';
import { WorkflowEnvironment } from './workflowEnvironment.js';

interface Options {
  /** Clusters of the inventory file. */
  clusters: readonly string[];
  requestsPerSecond?: number;
  requestTimeoutMs?: number;
}

/** The HTTP API with all that is its own, on a real Temporal server whose worker acts on clusters that exist only here. */
export class ApiEnvironment {
  private readonly apps: FastifyInstance[] = [];
  private stopWorker: () => Promise<void> = () => Promise.resolve();
  private readonly tokens = new Map<Role, string>();

  private readonly store: FileStore;

  private constructor(
    private readonly folder: string,
    private readonly workflows: WorkflowEnvironment,
    readonly client: FederatorClient,
    readonly issuer: Issuer,
  ) {
    const keys = KeyRing.parse(`k1:${Buffer.alloc(32, 7).toString('base64')}`, 'keys');
    this.store = new FileStore(path.join(folder, 'clusters'), keys);
  }

  static async start(recorded: RecordedActivities): Promise<ApiEnvironment> {
    const workflows = await WorkflowEnvironment.start();
    process.env['TEMPORAL_ADDRESS'] = workflows.address;
    const environment = new ApiEnvironment(
      mkdtempSync(path.join(os.tmpdir(), 'api-test-')),
      workflows,
      await FederatorClient.connect(),
      await Issuer.start('spire-federator'),
    );
    environment.makeTokens();
    // The store is the API's own, and real.
    const onboarding = onboardingActivities(new Clusters(undefined, environment.store));
    environment.stopWorker = await workflows.serve({ ...recorded.activities, ...onboarding });
    return environment;
  }

  /** Starts an API that shares files, tokens and Temporal with the others. @returns its address */
  async listen({ clusters, requestsPerSecond = 100_000, requestTimeoutMs }: Options): Promise<string> {
    const { client, issuer } = this;
    const inventoryFile = path.join(this.folder, 'inventory.yaml');
    const kubeconfig = { path: 'nowhere' };
    writeFileSync(inventoryFile, stringify({ clusters: clusters.map((name) => ({ name, kubeconfig })) }));
    const audit = new AuditLog(this.auditFile);
    await audit.start();
    const { codec } = payloadEncryption({});
    const app = await buildServer(
      {
        client,
        store: this.store,
        inventoryFile: new InventoryFile(inventoryFile),
        tokens: new TokenFile(this.tokensFile),
        oidc: new OidcTokens({ issuer: issuer.url, audience: issuer.audience, rolesClaim: 'roles' }),
        audit,
        codec,
        webUi: 'http://127.0.0.1:8233',
        idempotency: new IdempotencyKeys(),
        requestsPerSecond,
      },
      { level: 'silent', ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }) },
    );
    this.apps.push(app);
    return app.listen({ host: '127.0.0.1', port: 0 });
  }

  /** Static token of a role in all federations. */
  token(role: Role): string {
    return this.tokens.get(role) ?? '';
  }

  /** Names of the clusters and candidates that are stored. */
  async stored(): Promise<string[]> {
    return (await this.store.list()).map(({ entry }) => entry.name);
  }

  /** The regions of what is stored, as workflows are told them. */
  async storedRegions(): Promise<Record<string, string | null>> {
    return (await regionActivities(new Clusters(undefined, this.store)).readRegions()).regions;
  }

  /** What is on record, a line of JSON each. */
  audited(): string {
    return readFileSync(this.auditFile, 'utf8');
  }

  async stop(): Promise<void> {
    await Promise.all(this.apps.map((app) => app.close()));
    await this.client.close();
    await this.issuer.stop();
    await this.stopWorker();
    await this.workflows.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** All runs of workflows that somebody asked for by name, but those that only plan. */
  async requestedRuns(): Promise<{ runId: string; requestedBy: unknown }[]> {
    const runs: { runId: string; requestedBy: unknown }[] = [];
    for await (const { runId, memo } of this.workflows.client().workflow.list()) {
      const { requestedBy, planOnly } = memo ?? {};
      if (requestedBy !== undefined && planOnly !== true) runs.push({ runId, requestedBy });
    }
    return runs;
  }

  private makeTokens(): void {
    const roles: Role[] = ['viewer', 'operator', 'approver', 'admin'];
    const tokens = roles.map((role) => {
      const { token, sha256 } = newToken();
      this.tokens.set(role, token);
      return { name: role, sha256, grants: [{ role, federation: '*' }] };
    });
    writeFileSync(this.tokensFile, stringify({ tokens }));
  }

  private get tokensFile(): string {
    return path.join(this.folder, 'tokens.yaml');
  }

  private get auditFile(): string {
    return path.join(this.folder, 'audit.jsonl');
  }
}
