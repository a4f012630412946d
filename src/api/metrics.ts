import { Counter, Gauge, Registry } from 'prom-client';
import type { FederatorClient } from '../client.js';
import { FederatorError } from '../contract/errors.js';
import type { FederationHealth, FederationVerdict } from '../contract/health.js';

const VERDICTS: readonly FederationVerdict[] = ['ok', 'lagging', 'unknown', 'repairing', 'attention'];
const PREFIX = 'spire_federator_';

/** What the monitors know, as Prometheus reads it: asked of them with every scrape, so nothing here can be stale. */
export async function federationMetrics(client: FederatorClient): Promise<{ text: string; contentType: string }> {
  const registry = new Registry();
  const metrics = define(registry);
  const [federations, stopped] = await Promise.all([client.monitored(), client.stoppedMonitors()]);
  for (const federation of stopped) metrics.stopped.set({ federation }, 1);
  await Promise.all(
    federations.map(async (federation) => {
      try {
        describe(metrics, await client.health(federation));
        metrics.unread.set({ federation }, 0);
      } catch (error) {
        // One that ended just now is not monitored any more; whatever else is wrong with one says nothing of the others.
        if (!(error instanceof FederatorError && error.type === 'NotFound')) metrics.unread.set({ federation }, 1);
      }
    }),
  );
  return { text: await registry.metrics(), contentType: registry.contentType };
}

function define(registry: Registry) {
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Gauge({ name: PREFIX + name, help, labelNames: ['federation' as const, ...labelNames], registers: [registry] });
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter({
      name: PREFIX + name,
      help,
      labelNames: ['federation' as const, ...labelNames],
      registers: [registry],
    });
  return {
    verdict: gauge('federation_verdict', '1 for the verdict that the federation has, 0 for the others', ['verdict']),
    edges: gauge('edges', 'Edges by verdict', ['verdict']),
    age: gauge(
      'edge_freshness_age_seconds',
      'Since when the trusting cluster was last seen to hold the current bundle; of many edges, those that are not fresh',
      ['trusting', 'trusted'],
    ),
    up: gauge('spire_server_up', '1 if SPIRE server of the cluster runs, 0 if not; absent while that is not known', [
      'cluster',
    ]),
    endpoint: gauge('bundle_endpoint_ok', '1 if the bundle endpoint serves what it should', ['cluster']),
    expires: gauge('ca_expiry_timestamp_seconds', "When SPIRE server's newest CA expires", ['cluster']),
    findings: gauge('open_findings', 'Findings that are not mended, by check and state', ['check', 'state']),
    repairs: counter('repairs_total', 'Repairs that have ended since the monitor was started, by what was wrong', [
      'cause',
      'outcome',
    ]),
    round: gauge('monitor_last_round_timestamp_seconds', 'When the monitor last read all clusters', []),
    interval: gauge('monitor_interval_seconds', 'How often the monitor reads them', []),
    paused: gauge('monitor_paused', '1 while the monitor rests', []),
    unread: gauge('monitor_unread', '1 if the monitor runs and could not be asked, 0 if it answered', []),
    stopped: gauge(
      'monitor_stopped',
      '1 if the monitor was stopped in the last two days, by hand or with its federation',
      [],
    ),
  };
}

function describe(metrics: ReturnType<typeof define>, health: FederationHealth): void {
  const { federation, clusters, edges, counts, findings, repairCounts = [] } = health;
  for (const verdict of VERDICTS) metrics.verdict.set({ federation, verdict }, health.verdict === verdict ? 1 : 0);
  for (const [verdict, count] of Object.entries(counts)) metrics.edges.set({ federation, verdict }, count);
  for (const { trusting, trusted, freshnessAgeSeconds } of edges) {
    if (freshnessAgeSeconds !== undefined) metrics.age.set({ federation, trusting, trusted }, freshnessAgeSeconds);
  }
  for (const { cluster, server, endpoint, caExpiresAt } of clusters) {
    if (server !== 'unknown') metrics.up.set({ federation, cluster }, server === 'up' ? 1 : 0);
    if (endpoint !== 'unknown') metrics.endpoint.set({ federation, cluster }, endpoint === 'ok' ? 1 : 0);
    if (caExpiresAt !== undefined) metrics.expires.set({ federation, cluster }, Date.parse(caExpiresAt) / 1_000);
  }
  for (const { check, state } of findings) metrics.findings.inc({ federation, check, state });
  for (const { cause, outcome, count } of repairCounts) metrics.repairs.inc({ federation, cause, outcome }, count);
  if (health.lastRoundAt !== undefined) metrics.round.set({ federation }, health.lastRoundAt / 1_000);
  metrics.interval.set({ federation }, health.intervalSeconds);
  metrics.paused.set({ federation }, health.paused === undefined ? 0 : 1);
}
