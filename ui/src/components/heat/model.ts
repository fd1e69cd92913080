// The numbers of a heat strip: partitions down, time across. Pure; the drawing is beside it.
import { list, type PartitionHeat } from '../../api/types';

export interface Grid {
  partitions: readonly string[];
  /** Unix ms of each column. */
  times: number[];
  /** Row by row; -1 = not known. */
  cells: Float64Array;
  max: number;
}

export function grid(heat: PartitionHeat): Grid {
  const partitions = list(heat.partitions);
  const rows = list(heat.backlog);
  const columns = rows.reduce((n, r) => Math.max(n, list(r).length), 0);
  const cells = new Float64Array(partitions.length * columns).fill(-1);
  partitions.forEach((_, i) => {
    list(rows[i]).forEach((v, k) => {
      cells[i * columns + k] = v;
    });
  });
  const first = heat.to - (columns - 1) * heat.step;
  // Columns end at the end of the range; they stand on whole steps.
  const begin = Math.max(heat.from, Math.floor(first / heat.step) * heat.step);
  return { partitions, times: Array.from({ length: columns }, (_, k) => begin + k * heat.step), cells, max: heat.max };
}

export const at = (g: Grid, row: number, column: number): number => g.cells[row * g.times.length + column] ?? -1;

/** 0..1: a square root, so that a small backlog beside a huge one is still seen; an empty one is 0. */
export function strength(value: number, max: number): number {
  if (value <= 0 || max <= 0) return 0;
  return 0.08 + 0.92 * Math.sqrt(Math.min(1, value / max));
}

/** Height of a row: all in sight where they fit, at least a pixel each. */
export const rowHeight = (rows: number): number => Math.max(1, Math.min(16, Math.floor(420 / Math.max(1, rows))));

export interface Place {
  row: number;
  column: number;
}

/** Where a key moves the cursor; undefined for a key that means nothing here. */
export function move(g: Grid, p: Place, key: string): Place | undefined {
  const rows = g.partitions.length - 1;
  const columns = g.times.length - 1;
  const within = (row: number, column: number) => ({
    row: Math.max(0, Math.min(rows, row)),
    column: Math.max(0, Math.min(columns, column)),
  });
  switch (key) {
    case 'ArrowUp':
      return within(p.row - 1, p.column);
    case 'ArrowDown':
      return within(p.row + 1, p.column);
    case 'ArrowLeft':
      return within(p.row, p.column - 1);
    case 'ArrowRight':
      return within(p.row, p.column + 1);
    case 'PageUp':
      return within(p.row - 20, p.column);
    case 'PageDown':
      return within(p.row + 20, p.column);
    case 'Home':
      return within(p.row, 0);
    case 'End':
      return within(p.row, columns);
    default:
      return undefined;
  }
}

export interface Summary {
  partition: string;
  now: number;
  most: number;
  /** Unix ms of the most. */
  mostAt: number;
}

/** Each partition in four figures, for the table and for those who do not see colours. */
export function summaries(g: Grid): Summary[] {
  return g.partitions.map((partition, row) => {
    let most = -1;
    let mostAt = 0;
    for (let k = 0; k < g.times.length; k++) {
      const v = at(g, row, k);
      if (v > most) {
        most = v;
        mostAt = g.times[k] as number;
      }
    }
    return { partition, now: at(g, row, g.times.length - 1), most, mostAt };
  });
}
