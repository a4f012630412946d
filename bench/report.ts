import { formatTable } from '../src/cli/table.js';

export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** At most this is aimed at. */
  target?: number;
}

/** Figures as a table; with the target where there is one. */
export function formatFigures(figures: readonly Figure[]): string {
  const rows = figures.map(({ name, value, unit, target }) => [
    name,
    `${value.toFixed(value < 10 ? 2 : 0)} ${unit}`,
    target === undefined ? '' : `≤ ${target} ${unit}`,
    target === undefined ? '' : value <= target ? 'met' : 'MISSED',
  ]);
  return formatTable(['figure', 'measured', 'target', ''], rows);
}
