import '../memory.js';
import { findInventory, logLevel, webUiUrl } from '../config.js';
import { FederatorClient } from '../client.js';
import { FederatorError } from '../contract/errors.js';
import { payloadEncryption } from '../encryption/payloadEncryption.js';
import { InventoryFile } from '../store/inventoryFile.js';
import { openStore } from '../store/openStore.js';
import { startTracing } from '../tracing/tracing.js';
import { AuditLog } from './audit.js';
import { AuditOutcomes } from './auditOutcomes.js';
import { IdempotencyKeys } from './idempotency.js';
import { OidcTokens } from '../access/oidc.js';
import { buildServer, closeWithin } from './server.js';
import { apiSettings } from './settings.js';
import { TokenFile } from '../access/tokens.js';

/** For running requests; Kubernetes, and `up`, kill after 30 s. */
const SHUTDOWN_MS = 20_000;
/** How soon after its end a change's outcome is on record. */
const RECORD_OUTCOMES_MS = 5_000;

async function main(): Promise<void> {
  const settings = apiSettings();
  const level = logLevel();
  let warn = (message: string) => console.error(message);
  const tokens =
    settings.tokensFile === undefined ? undefined : new TokenFile(settings.tokensFile, (message) => warn(message));
  await tokens?.read();
  const audit = new AuditLog(settings.auditLog);
  const cutOff = await audit.start();
  if (cutOff > 0) console.error(`Audit log ${settings.auditLog}: lines cut off while they were written: ${cutOff}`);
  const { codec } = payloadEncryption();
  const client = await FederatorClient.connect();
  const inventory = findInventory();
  const context = {
    client,
    store: await openStore(),
    inventoryFile: inventory === undefined ? undefined : new InventoryFile(inventory),
    tokens,
    oidc: settings.oidc === undefined ? undefined : new OidcTokens(settings.oidc),
    audit,
    codec,
    webUi: webUiUrl(),
    idempotency: new IdempotencyKeys(),
    requestsPerSecond: settings.requestsPerSecond,
  };
  const tracing = await startTracing('spire-federator-api', (message) => warn(message));
  const app = await buildServer(context, { level, traces: tracing !== undefined });
  warn = (message) => app.log.warn(message);
  const recording = new AbortController();
  let recorded: Promise<void> | undefined;
  const stop = () => {
    recording.abort();
    void closeWithin(app, SHUTDOWN_MS)
      // The calls of the recording end with the connection.
      .then(() => Promise.all([recorded, client.close()]))
      .then(() => tracing?.shutdown());
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  try {
    const address = await app.listen({ host: settings.host, port: settings.port });
    console.log(`API on ${address} (console: ${address}/console, its description: ${address}/docs)`);
    recorded = new AuditOutcomes(client, audit).keepRecording(RECORD_OUTCOMES_MS, recording.signal, (message) =>
      warn(message),
    );
  } catch (error) {
    await client.close();
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new FederatorError(
      'InvalidInput',
      `The API cannot listen on ${settings.host}:${settings.port} (${code}). Choose another with SPIRE_FEDERATOR_API_ADDRESS.`,
    );
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof FederatorError ? error.message : error);
  process.exitCode = 1;
});
