import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { register } from 'prom-client';
import { parse, stringify } from 'yaml';
import { federationMetrics } from '../../src/api/metrics.js';
import type { FederatorClient } from '../../src/client.js';
import { FederatorError } from '../../src/contract/errors.js';
import type { FederationHealth } from '../../src/contract/health.js';
import { execSeconds, kubernetesRequestSeconds } from '../../src/kubernetes/latency.js';
import { dashboard, temporalMetricNames } from '../support/dashboard.js';

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
  repairCounts: [
    { cause: 'route', outcome: 'healed', count: 73 },
    { cause: 'route', outcome: 'failed', count: 2 },
  ],
  rounds: 7,
  intervalSeconds: 75,
  lastRoundAt: 1_700_000_000_000,
  since: 0,
};

const { groups: alertGroups } = parse(readFileSync(path.join(root, 'deploy/prometheus/alerts.yaml'), 'utf8')) as {
  groups: { rules: { alert: string; expr: string; annotations: { description: string } }[] }[];
};
const rules = alertGroups.flatMap((group) => group.rules);

/** Only what a scrape asks of it. */
const client = (answers: Record<string, FederationHealth | Error>) =>
  ({
    monitored: async () => Object.keys(answers),
    stoppedMonitors: async () => ['ended'],
    health: async (federation: string) => {
      const answer = answers[federation];
      if (answer instanceof Error) throw answer;
      return answer;
    },
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
    '# TYPE spire_federator_repairs_total counter',
    'spire_federator_repairs_total{federation="prod",cause="route",outcome="healed"} 73',
    'spire_federator_repairs_total{federation="prod",cause="route",outcome="failed"} 2',
    'spire_federator_open_findings{federation="prod",check="edge",state="escalated"} 1',
    'spire_federator_monitor_last_round_timestamp_seconds{federation="prod"} 1700000000',
  ]) {
    expect(text.split('\n')).toContain(line);
  }
});

test('a monitor that cannot be asked, for whatever reason, hides no other', async () => {
  const silent = new Error('Unexpected end of its answer');
  const gone = new FederatorError('NotFound', 'Nobody watches over it');
  const { text } = await federationMetrics(client({ silent, gone, prod: health }));
  expect(text.split('\n').filter((line) => /^spire_federator_monitor_(unread|stopped)/.test(line))).toEqual([
    'spire_federator_monitor_unread{federation="silent"} 1',
    'spire_federator_monitor_unread{federation="prod"} 0',
    'spire_federator_monitor_stopped{federation="ended"} 1',
  ]);
  expect(text).toContain('spire_federator_edges{federation="prod",verdict="stale"} 1');
});

/** The names under which Prometheus has the engine's metrics. */
async function exportedMetrics(): Promise<Set<string>> {
  const { text } = await federationMetrics(client({ prod: health }));
  const exported = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name));
  for (const { name } of [kubernetesRequestSeconds, execSeconds] as unknown as { name: string }[]) {
    expect(register.getSingleMetric(name)).toBeDefined();
    for (const suffix of ['count', 'sum', 'bucket']) exported.add(`${name}_${suffix}`);
  }
  return exported;
}

const ownMetrics = (expression: string) => [...expression.matchAll(/spire_federator_\w+/g)].map(([name]) => name);

test('every alert is about metrics that there are, and leads to something that there is', async () => {
  const exported = await exportedMetrics();
  const runbook = readFileSync(path.join(root, 'docs/runbook.md'), 'utf8');
  expect(rules.length).toBeGreaterThan(5);
  for (const { alert, expr, annotations } of rules) {
    const used = ownMetrics(expr);
    expect(used.length).toBeGreaterThan(0);
    expect({ alert, missing: used.filter((name) => !exported.has(name)) }).toEqual({ alert, missing: [] });
    for (const [, anchor = ''] of annotations.description.matchAll(/runbook\.md#(\S+)/g)) {
      expect(runbook).toMatch(new RegExp(`^### ${anchor}$`, 'm'));
    }
  }
});

test('every panel of the dashboard is about metrics that there are, and every metric has one', async () => {
  const exported = await exportedMetrics();
  const { panels } = dashboard();
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const used = panels.flatMap(({ title, targets = [] }) => {
    if (targets.length === 0) return [];
    const names = targets.flatMap(({ expr }) => [...ownMetrics(expr), ...temporalMetricNames(expr)]);
    expect({ title, names: names.length }).not.toEqual({ title, names: 0 });
    return ownMetrics(targets.map(({ expr }) => expr).join('\n'));
  });
  expect(used.filter((name) => !exported.has(name))).toEqual([]);
  // What is only there so that an alert can reckon with it, or as a part of what is shown.
  const aside = /_sum$|_count$|monitor_interval_seconds|monitor_stopped/;
  expect([...exported].filter((name) => !used.includes(name) && !aside.test(name))).toEqual([]);
});

describe('promtool', () => {
  const promtool = (...args: string[]) =>
    spawnSync('promtool', args, { encoding: 'utf8', cwd: path.join(root, 'deploy/prometheus') });
  const ifInstalled = promtool('--version').status === 0 ? test : test.skip;

  ifInstalled('finds every alert to be a rule', () => {
    const { status, stdout } = promtool('check', 'rules', 'alerts.yaml');
    expect({ status, stdout }).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`${rules.length} rules`) as string,
    });
  });

  ifInstalled('sees every alert page when it should, and not before', () => {
    const { status, stdout, stderr } = promtool('test', 'rules', 'alerts.test.yaml');
    expect({ status, output: stdout + stderr }).toMatchObject({ status: 0 });
  });

  ifInstalled('reads every expression of the dashboard', () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'dashboard-'));
    try {
      const expressions = dashboard().panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
      const file = path.join(folder, 'rules.yaml');
      const groups = [
        {
          name: 'dashboard',
          rules: expressions.map((expr, index) => ({
            record: `panel:${index}`,
            expr: expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$\w+/g, '.*'),
          })),
        },
      ];
      writeFileSync(file, stringify({ groups }));
      const { status, stdout, stderr } = promtool('check', 'rules', file);
      expect({ status, output: stdout + stderr }).toMatchObject({ status: 0 });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

test('every alert has a case in which it pages', () => {
  const { tests } = parse(readFileSync(path.join(root, 'deploy/prometheus/alerts.test.yaml'), 'utf8')) as {
    tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
  };
  const paged = tests.flatMap(({ alert_rule_test: cases }) =>
    cases.filter(({ exp_alerts: alerts }) => alerts.length > 0).map(({ alertname }) => alertname),
  );
  expect(paged.sort()).toEqual(rules.map(({ alert }) => alert).sort());
});
