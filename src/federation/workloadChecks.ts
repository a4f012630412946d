import type { DiagnosedCheck } from '../contract/diagnosis.js';
import type { ShowWorkloadResult, WorkloadReport } from '../contract/workload.js';
import { checker } from './check.js';

/** Checks that tell of a whole cluster whether anybody on it can have an identity. */
const OF_CLUSTER: ReadonlySet<string> = new Set(['cluster', 'server-down', 'server-crash-loop']);

/** What is wrong with the identity of a workload, and with the clusters that it is on. Pure. */
export function workloadChecks(
  { reports, unknown }: ShowWorkloadResult,
  checks: readonly DiagnosedCheck[],
): DiagnosedCheck[] {
  const clusters = new Set(reports.map(({ cluster }) => cluster));
  return [
    ...reports.flatMap(reportChecks),
    ...checks.filter(({ name, scope }) => clusters.has(scope) && OF_CLUSTER.has(name)),
    ...unknown.map(({ cluster, message }) =>
      checker(cluster)('cluster', 'unknown', message, 'Restore the connection, or grant what is missing.'),
    ),
  ];
}

function reportChecks({ cluster, pod, entries, findings }: WorkloadReport): DiagnosedCheck[] {
  const name = `${pod.namespace}/${pod.name}`;
  const check = checker(cluster, name);
  const verdict = entries.length === 0 ? 'failed' : 'warning';
  if (findings.length > 0)
    return findings.map(({ evidence, remedy }) => check('workload', verdict, `${name}: ${evidence}`, remedy));
  if (entries.length === 0) {
    return [
      check(
        'workload',
        'failed',
        `${name} has no registration entry`,
        'Look at it: npm run federator -- workload show',
      ),
    ];
  }
  const federated = [...new Set(entries.flatMap(({ federatesWith }) => federatesWith))];
  return [
    check(
      'workload',
      'ok',
      `${name} is ${entries.map(({ spiffeId }) => spiffeId).join(', ')} and federates with ${federated.join(', ') || 'nobody'}`,
    ),
  ];
}
