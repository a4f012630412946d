import type { EdgeHealth, EdgeVerdict, FederationHealth } from '../contract/health.js';

const MARKS: Readonly<Record<EdgeVerdict, string>> = {
  fresh: '✓',
  lagging: '…',
  stale: '✗ stale',
  broken: '✗ broken',
  unknown: '?',
};
/** A matrix that is wider than this is no help. */
const MATRIX_AT_MOST = 12;

/** A federation's health as Markdown, for the Temporal Web UI. */
export function healthDetails(health: FederationHealth): string {
  const { verdict, counts, clusters, edges, findings, repairs, paused, rounds, intervalSeconds } = health;
  const counted = Object.entries(counts).filter(([, count]) => count > 0);
  const lines = [
    `**${verdict}**: ${counted.map(([name, count]) => `${count} ${name}`).join(', ')} of ${Object.values(counts).reduce((a, b) => a + b, 0)} edges, round ${rounds}, every ${intervalSeconds} s`,
    ...(paused === undefined
      ? []
      : [
          '',
          `**paused**: ${paused.reason}${paused.until === undefined ? '' : ` until ${new Date(paused.until).toISOString()}`}`,
        ]),
    '',
    ...(clusters.length <= MATRIX_AT_MOST
      ? matrix(
          clusters.map(({ cluster }) => cluster),
          edges,
        )
      : troubled(edges)),
    ...(findings.length === 0 ? [] : ['', '| finding | state | evidence | remedy |', '|-|-|-|-|']),
    ...findings.map(({ id, state, evidence, remedy }) => `| ${id} | ${state} | ${cell(evidence)} | ${cell(remedy)} |`),
    ...(repairs.length === 0 ? [] : ['', '| repair | action | outcome | took |', '|-|-|-|-|']),
    ...repairs
      .slice(-10)
      .reverse()
      .map(
        ({ findingId, action, outcome, durationMs }) =>
          `| ${findingId} | ${action} | ${outcome} | ${(durationMs / 1000).toFixed(1)} s |`,
      ),
  ];
  return lines.join('\n');
}

function matrix(names: readonly string[], edges: readonly EdgeHealth[]): string[] {
  return [
    `| trusts ↓ trusted → | ${names.join(' | ')} |`,
    `|-|${names.map(() => '-').join('|')}|`,
    ...names.map((trusting) => {
      const cells = names.map((trusted) => {
        const edge = edges.find((each) => each.trusting === trusting && each.trusted === trusted);
        if (edge === undefined) return '·';
        const age = edge.freshnessAgeSeconds === undefined ? '' : ` ${edge.freshnessAgeSeconds} s`;
        return `${MARKS[edge.verdict]}${age}`;
      });
      return `| **${trusting}** | ${cells.join(' | ')} |`;
    }),
  ];
}

function troubled(edges: readonly EdgeHealth[]): string[] {
  const rows = edges.filter(({ verdict }) => verdict !== 'fresh').slice(0, 50);
  if (rows.length === 0) return ['every edge is fresh'];
  return [
    '| edge | verdict | evidence |',
    '|-|-|-|',
    ...rows.map(
      ({ trusting, trusted, verdict, cause, evidence }) =>
        `| ${trusting}←${trusted} | ${verdict}${cause === undefined ? '' : ` (${cause})`} | ${cell(evidence)} |`,
    ),
  ];
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
