import { checkAnchor } from '../contract/checks.js';
import type {
  EdgeHealth,
  EdgeVerdict,
  FederationHealth,
  FederationVerdict,
  OpenFinding,
  RepairRecord,
} from '../contract/health.js';
import { pc } from './colours.js';
import { printResult, type OutputOptions } from './output.js';
import { formatTable } from './table.js';

const EDGES: Readonly<Record<EdgeVerdict, (text: string) => string>> = {
  fresh: pc.green,
  lagging: pc.yellow,
  stale: pc.red,
  broken: pc.red,
  unknown: pc.yellow,
};

const VERDICTS: Readonly<Record<FederationVerdict, string>> = {
  ok: pc.green('ok'),
  lagging: pc.yellow('lagging'),
  unknown: pc.yellow('unknown'),
  repairing: pc.yellow('repairing'),
  attention: pc.red('needs attention'),
};

const STATES: Readonly<Record<OpenFinding['state'], string>> = {
  found: pc.yellow('found'),
  repairing: pc.yellow('being repaired'),
  approval: pc.red('waits for approval'),
  escalated: pc.red('could not be repaired'),
  person: pc.red('takes a person'),
};

/** Repairs that are listed. */
const NEWEST = 5;
/** A matrix of more clusters than this does not fit a terminal. */
const MATRIX_AT_MOST = 12;

/** Prints a federation's health: the matrix of edges with the age of what is known, what is wrong, and what was repaired. */
export function printHealth(health: FederationHealth, options: OutputOptions = {}): void {
  printResult(health, options, () => console.log(healthText(health)));
}

/** A federation's health as text. */
export function healthText(health: FederationHealth): string {
  const { federation, verdict, clusters, edges, counts, findings, repairs, rounds, intervalSeconds, paused } = health;
  const counted = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => EDGES[name as EdgeVerdict](`${count} ${name}`));
  const parts = [
    `Federation ${federation}: ${VERDICTS[verdict]} (${counted.join(', ')}; round ${rounds}, one every ${intervalSeconds} s)`,
    ...(paused === undefined
      ? []
      : [
          pc.yellow(
            `Paused: ${paused.reason}${paused.until === undefined ? '' : `, until ${new Date(paused.until).toISOString()}`}`,
          ),
        ]),
    clusterTable(health),
    clusters.length <= MATRIX_AT_MOST
      ? matrix(
          clusters.map(({ cluster }) => cluster),
          edges,
        )
      : troubled(edges),
    ...(findings.length === 0 ? [] : [findings.map((each) => findingText(federation, each)).join('\n')]),
    ...(repairs.length === 0 ? [] : [repairTable(repairs.slice(-NEWEST))]),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function clusterTable({ clusters }: FederationHealth): string {
  return formatTable(
    ['cluster', 'trust domain', 'server', 'endpoint', 'agents', 'next CA', 'CA expires'],
    clusters.map(({ cluster, trustDomain = '', server, endpoint, agents, caRotatesAt, caExpiresAt }) => [
      cluster,
      trustDomain,
      server === 'up' ? pc.green(server) : pc.red(server),
      endpoint === 'ok' ? pc.green(endpoint) : pc.red(endpoint),
      agents === undefined ? '' : String(agents),
      time(caRotatesAt),
      time(caExpiresAt),
    ]),
  );
}

function time(iso: string | undefined, to: 'minutes' | 'seconds' = 'minutes'): string {
  return iso === undefined ? '' : iso.replace('T', ' ').slice(0, to === 'minutes' ? 16 : 19);
}

function matrix(names: readonly string[], edges: readonly EdgeHealth[]): string {
  return formatTable(
    ['trusts ↓  trusted →', ...names],
    names.map((trusting) => [
      trusting,
      ...names.map((trusted) => {
        const edge = edges.find((each) => each.trusting === trusting && each.trusted === trusted);
        return edge === undefined ? pc.dim('·') : edgeText(edge);
      }),
    ]),
  );
}

function edgeText({ verdict, cause, freshnessAgeSeconds }: EdgeHealth): string {
  const age = freshnessAgeSeconds === undefined ? '' : ` ${freshnessAgeSeconds} s`;
  return EDGES[verdict](`${verdict}${cause === undefined ? '' : ` (${cause})`}${age}`);
}

function troubled(edges: readonly EdgeHealth[]): string {
  const rows = edges
    .filter(({ verdict }) => verdict !== 'fresh')
    .map((edge) => [`${edge.trusting}←${edge.trusted}`, edgeText(edge), edge.evidence]);
  return rows.length === 0 ? pc.green('Every edge is fresh.') : formatTable(['edge', 'verdict', 'evidence'], rows);
}

function findingText(federation: string, finding: OpenFinding): string {
  const { id, check, state, evidence, remedy, needsApproval } = finding;
  return [
    `${pc.bold(id)}: ${STATES[state]}`,
    `  ${evidence}`,
    ...(needsApproval === undefined ? [] : [`  Not repaired without asking: ${needsApproval}.`]),
    ...(state === 'approval' || state === 'escalated'
      ? [`  Allow it: npm run federator -- repair '${id}' --federation ${federation}`]
      : []),
    `  ${remedy}`,
    pc.dim(`  ${checkAnchor(check)}`),
  ].join('\n');
}

/** Repairs as a table, the newest first. */
export function repairTable(repairs: readonly RepairRecord[]): string {
  return formatTable(
    ['repaired', 'what', 'action', 'outcome', 'took', 'evidence after'],
    repairs
      .toReversed()
      .map(({ startedAt, findingId, action, outcome, durationMs, evidenceAfter }) => [
        time(new Date(startedAt).toISOString(), 'seconds'),
        findingId,
        action,
        outcome === 'failed' ? pc.red(outcome) : pc.green(outcome),
        `${(durationMs / 1000).toFixed(1)} s`,
        evidenceAfter.slice(0, 80),
      ]),
  );
}
