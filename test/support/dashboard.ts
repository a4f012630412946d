import { readFileSync } from 'node:fs';
import path from 'node:path';

interface Dashboard {
  panels: { id: number; title: string; targets?: { expr: string }[] }[];
}

/** The Grafana dashboard that the product ships. */
export function dashboard(): Dashboard {
  const file = path.resolve(__dirname, '../../deploy/grafana/spire-federator.json');
  return JSON.parse(readFileSync(file, 'utf8')) as Dashboard;
}

/** Metrics of Temporal's SDK in an expression. */
export function temporalMetricNames(expression: string): string[] {
  return [...expression.matchAll(/temporal_\w+/g)].map(([name]) => name);
}
