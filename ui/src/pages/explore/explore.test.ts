import { expect, it } from 'vitest';
import type { Frame } from '../../api/frames';
import { sample, seriesName } from '../../api/prometheus';
import { niceStep } from './step';
import { fromAnswer, LiveSeries } from './table-data';

const frame = (kind: Frame['kind'], points: [number, number, number][], series?: Record<string, string>[]): Frame => ({
  id: 1,
  seq: 1,
  kind,
  series,
  index: Uint32Array.from(points.map((p) => p[0])),
  times: Float64Array.from(points.map((p) => p[1])),
  values: Float64Array.from(points.map((p) => p[2])),
});

it('puts series on one axis and leaves holes where one has no value', () => {
  const r = fromAnswer({
    resultType: 'matrix',
    warnings: [],
    result: [
      {
        metric: { a: '1' },
        values: [
          [1, '1'],
          [2, '+Inf'],
        ],
      },
      {
        metric: { a: '2' },
        values: [
          [2, '5'],
          [3, 'NaN'],
        ],
      },
    ],
  });
  expect(r.times).toEqual([1000, 2000, 3000]);
  expect(r.series[0]?.values).toEqual([1, Number.POSITIVE_INFINITY, null]);
  expect(r.series[1]?.values).toEqual([null, 5, Number.NaN]);
});

it('keeps a window of a live query', () => {
  const live = new LiveSeries(2000);
  live.apply(
    frame(
      'snapshot',
      [
        [0, 1000, 1],
        [1, 1000, 10],
        [0, 2000, 2],
      ],
      [{ x: 'a' }, { x: 'b' }],
    ),
  );
  const r = live.apply(frame('points', [[0, 4000, 4]]));
  expect(r.times).toEqual([2000, 4000]);
  expect(r.series.map((s) => s.values)).toEqual([
    [2, 4],
    [null, null],
  ]);
  expect(live.apply(frame('snapshot', [], [])).series).toEqual([]);
});

it('chooses steps people can read, and never below a second', () => {
  expect(niceStep(60e3)).toBe(1);
  expect(niceStep(3600e3)).toBe(10);
  expect(niceStep(7 * 86_400e3)).toBe(1800);
});

it('names series as PromQL does', () => {
  expect(seriesName({ __name__: 'up', node: 'n1' })).toBe('up{node="n1"}');
  expect(seriesName({ __name__: 'up' })).toBe('up');
  expect(seriesName({})).toBe('{}');
  expect(sample('-Inf')).toBe(Number.NEGATIVE_INFINITY);
});
