import { readFileSync } from 'node:fs';
import path from 'node:path';
import { register } from 'prom-client';
import { parse } from 'yaml';
import { federationMetrics } from '../../src/api/metrics.js';
import type { FederatorClient } from '../../src/client.js';
import type { FederationHealth } from '../../src/contract/health.js';
import { execSeconds, kubernetesRequestSeconds } from '../../src/kubernetes/latency.js';

const root = path.resolve(__dirname, '../..');
const health: FederationHealth = {
  federation: 'prod',
  verdict: 'attention',
  clusters: [{ cluster: 'a', server: 'up', endpoint: 'failed', caExpiresAt: '2030-01-01T00:00:00Z' }],
  edges: [{ trusting: 'a', trusted: 'b', verdict: 'stale', evidence: '', freshnessAgeSeconds: 90 }],
  counts: { fresh: 1, lagging: 0, stale: 1, broken: 0, unknown: 0 },
  findings: [
    { id: 'x', check: 'edge', scope: 'a←b', evidence: '', remedy: '', since: 0, state: 'escalated', attempts: 3 },
  ],
  repairs: [],
  rounds: 7,
  intervalSeconds: 75,
  lastRoundAt: 1_700_000_000_000,
  since: 0,
};

/** Only what a scrape asks of it. */
const client = (answers: Record<string, FederationHealth>) =>
  ({
    monitored: async () => Object.keys(answers),
    health: async (federation: string) => answers[federation],
  }) as unknown as FederatorClient;

test('a scrape tells what the monitors know', async () => {
  const { text } = await federationMetrics(client({ prod: health }));
  for (const line of [
    'spire_federator_federation_verdict{federation="prod",verdict="attention"} 1',
    'spire_federator_federation_verdict{federation="prod",verdict="ok"} 0',
    'spire_federator_edges{federation="prod",verdict="stale"} 1',
    'spire_federator_edge_freshness_age_seconds{federation="prod",trusting="a",trusted="b"} 90',
    'spire_federator_spire_server_up{federation="prod",cluster="a"} 1',
    'spire_federator_bundle_endpoint_ok{federation="prod",cluster="a"} 0',
    'spire_federator_ca_expiry_timestamp_seconds{federation="prod",cluster="a"} 1893456000',
    'spire_federator_open_findings{federation="prod",check="edge",state="escalated"} 1',
    'spire_federator_monitor_last_round_timestamp_seconds{federation="prod"} 1700000000',
  ]) {
    expect(text.split('\n')).toContain(line);
  }
});

test('every alert is about metrics that there are, and leads to something that there is', async () => {
  const { text } = await federationMetrics(client({ prod: health }));
  const exported = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name));
  for (const { name } of [kubernetesRequestSeconds, execSeconds] as unknown as { name: string }[]) {
    expect(register.getSingleMetric(name)).toBeDefined();
    for (const suffix of ['count', 'sum', 'bucket']) exported.add(`${name}_${suffix}`);
  }
  const { groups } = parse(readFileSync(path.join(root, 'deploy/prometheus/alerts.yaml'), 'utf8')) as {
    groups: { rules: { alert: string; expr: string; annotations: { description: string } }[] }[];
  };
  const runbook = readFileSync(path.join(root, 'docs/runbook.md'), 'utf8');
  const rules = groups.flatMap((group) => group.rules);
  expect(rules.length).toBeGreaterThan(5);
  for (const { alert, expr, annotations } of rules) {
    const used = [...expr.matchAll(/spire_federator_\w+/g)].map(([name]) => name);
    expect(used.length).toBeGreaterThan(0);
    expect({ alert, missing: used.filter((name) => !exported.has(name)) }).toEqual({ alert, missing: [] });
    for (const [, anchor = ''] of annotations.description.matchAll(/runbook\.md#(\S+)/g)) {
      expect(runbook).toMatch(new RegExp(`^### ${anchor}$`, 'm'));
    }
  }
});
