import { expect, it } from 'vitest';
import type { SpanRow, Trace } from '../../api/types';
import { ancestors, build, find, pan, visible, zoom } from './model';

const span = (id: string, depth: number, extra: Partial<SpanRow> = {}): SpanRow =>
  ({
    id,
    depth,
    service: id[0],
    name: `do ${id}`,
    status: 'ok',
    start: 0,
    duration: 1,
    wait: 0,
    attrs: {},
    events: [],
    links: [],
    ...extra,
  }) as SpanRow;

const trace = (spans: SpanRow[]): Trace => ({ id: 't', start: 0, duration: 2, services: [], spans });
const m = build(
  trace([
    span('a', 0),
    span('a1', 1),
    span('a11', 2, { status: 'error' }),
    span('a2', 1, { attrs: { tier: 'Gold' } }),
    span('b', 0, { start: 3 }),
  ]),
);

it('knows where each subtree ends', () => {
  expect([...m.end]).toEqual([4, 3, 3, 4, 5]);
  expect(m.errors).toBe(1);
  expect(m.services).toEqual(['a', 'b']);
  expect(m.duration).toBe(4); // the last span ends after the duration the answer names
});

it('hides the children of what is folded', () => {
  expect([...visible(m, new Set())]).toEqual([0, 1, 2, 3, 4]);
  expect([...visible(m, new Set([1]))]).toEqual([0, 1, 3, 4]);
  expect([...visible(m, new Set([0, 1]))]).toEqual([0, 4]);
});

it('finds by name, service, id and attribute', () => {
  expect(find(m, 'gold')).toEqual([3]);
  expect(find(m, 'do a1')).toEqual([1, 2]);
  expect(find(m, ' ')).toEqual([]);
});

it('finds the ancestors that must be unfolded', () => {
  expect(ancestors(m, 2)).toEqual([1, 0]);
  expect(ancestors(m, 4)).toEqual([]);
});

it('zooms and pans inside the trace', () => {
  expect(zoom({ from: 0, to: 4 }, 0.5, 4)).toEqual({ from: 1, to: 3 });
  expect(zoom({ from: 1, to: 3 }, 100, 4)).toEqual({ from: 0, to: 4 });
  expect(pan({ from: 0, to: 1 }, -1, 4)).toEqual({ from: 0, to: 1 });
  expect(pan({ from: 0, to: 1 }, 10, 4)).toEqual({ from: 3, to: 4 });
});

it('opens a trace without spans', () => {
  const empty = build({ ...trace([]), spans: null });
  expect([...visible(empty, new Set())]).toEqual([]);
  expect(empty.duration).toBe(2);
});

it('builds 100,000 spans and folds them within a blink', () => {
  const big = build(trace(Array.from({ length: 100_000 }, (_, i) => span(`s${i}`, i % 300))));
  expect(visible(big, new Set([0])).length).toBeLessThan(100_000);
  expect(big.end[0]).toBe(300);
});
