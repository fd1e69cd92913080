import { expect, it } from 'vitest';
import type { PartitionHeat } from '../../api/types';
import { at, grid, move, rowHeight, strength, summaries } from './model';

const heat = (backlog: number[][]): PartitionHeat => ({
  destination: 'orders',
  group: 'enrich',
  from: 0,
  to: 30_000,
  step: 10_000,
  partitions: backlog.map((_, i) => String(i)),
  backlog,
  max: Math.max(0, ...backlog.flat()),
  left: 0,
});

it('keeps what is not known apart from nothing', () => {
  const g = grid(heat([[0, 5, 9], [-1, -1], []]));
  expect(at(g, 0, 0)).toBe(0);
  expect(at(g, 1, 2)).toBe(-1);
  expect(at(g, 2, 0)).toBe(-1);
  expect(strength(-1, 9)).toBe(0);
  expect(summaries(g)).toMatchObject([
    { partition: '0', now: 9, most: 9 },
    { now: -1, most: -1 },
    { now: -1, most: -1 },
  ]);
});

it('shows a small backlog beside a huge one', () => {
  expect(strength(0, 1e9)).toBe(0);
  expect(strength(1, 1e9)).toBeGreaterThan(0.05);
  expect(strength(2e9, 1e9)).toBe(1);
});

it('moves the cursor inside the grid and leaves other keys alone', () => {
  const g = grid(
    heat([
      [1, 2],
      [3, 4],
    ]),
  );
  expect(move(g, { row: 0, column: 0 }, 'ArrowUp')).toEqual({ row: 0, column: 0 });
  expect(move(g, { row: 0, column: 0 }, 'PageDown')).toEqual({ row: 1, column: 0 });
  expect(move(g, { row: 1, column: 0 }, 'End')).toEqual({ row: 1, column: 1 });
  expect(move(g, { row: 0, column: 0 }, 'j')).toBeUndefined();
});

it('holds 500 partitions on a screen', () => {
  expect(rowHeight(500) * 500).toBeLessThanOrEqual(500);
  expect(rowHeight(3)).toBe(16);
});
