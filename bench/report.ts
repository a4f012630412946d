import { formatTable } from '../src/cli/table.js';

export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** At most this is aimed at. */
  target?: number;
  /** The value is the median of these. */
  samples?: number[];
}

/** Figures as a table; with the target where there is one. */
export function formatFigures(figures: readonly Figure[]): string {
  const rows = figures.map(({ name, value, unit, target }) => [
    name,
    `${value.toFixed(value < 10 ? 2 : 0)} ${unit}`.trimEnd(),
    target === undefined ? '' : `≤ ${target} ${unit}`,
    target === undefined ? '' : isMet({ value, target }) ? 'met' : 'MISSED',
  ]);
  return formatTable(['figure', 'measured', 'target', ''], rows);
}

/** The figures with, where there is a target, whether it is met: what programs read. */
export function withVerdicts(figures: readonly Figure[]): (Figure & { met?: boolean })[] {
  return figures.map((figure) =>
    figure.target === undefined ? figure : { ...figure, met: isMet({ value: figure.value, target: figure.target }) },
  );
}

function isMet({ value, target }: { value: number; target: number }): boolean {
  return value <= target;
}
