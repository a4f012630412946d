import { REFRESH_COLUMNS, refreshCells } from '../contract/refreshTable.js';
import type { RotateWatchReport } from '../contract/rotation.js';
import { proofTable } from './rotation.js';

/** Edges that are listed in the Temporal Web UI. */
const LISTED = 100;

/** A watch as Markdown, for the Temporal Web UI. */
export function refreshDetails(report: RotateWatchReport): string {
  const { refreshes, failures, rotations, since, until, edges, gaps, problems, rotation } = report;
  const table = [
    `| ${REFRESH_COLUMNS.join(' | ')} |`,
    `|${REFRESH_COLUMNS.map(() => '-').join('|')}|`,
    ...edges.slice(0, LISTED).map((edge) => `| ${refreshCells(edge).join(' | ')} |`),
  ];
  return [
    `**${refreshes} refreshes**, ${failures} failed, in ${Math.round((until - since) / 1000)} s${rotations === undefined ? '' : `; ${rotations} per edge are wanted`}`,
    '',
    ...table,
    ...(edges.length > LISTED ? ['', `and ${edges.length - LISTED} more edges`] : []),
    ...Object.values(problems).map((problem) => `\n${problem}`),
    ...gaps.map(({ cluster, from, to }) => `\n${cluster}: the log from ${iso(from)} to ${iso(to)} is lost`),
    ...(rotation === undefined ? [] : ['', proofTable(rotation)]),
  ].join('\n');
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
