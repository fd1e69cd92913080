import { expect, it } from 'vitest';
import type { Series } from '../../api/types';
import { earlier, turn } from './compare';
import { align, beginAtData, overlay } from './series';

const HOUR = 240;
const series = (name: string, begins: number): Series =>
  ({
    name,
    unit: 's',
    points: Array.from({ length: HOUR + 1 }, (_, i) => ({ t: i * 15_000, v: i < begins ? null : i })),
  }) as Series;
const look = () => ({ colour: '--s1' });

it('begins all charts at the first value when there are minutes of data in an hour', () => {
  const { a, b, since } = beginAtData({
    a: align([series('lag enrich', 200)], look, [series('bound enrich', 200)]),
    b: align([series('in', 210)], look),
  });
  expect(since).toBe(200 * 15_000);
  expect(a.times[0]).toBe(since);
  expect(b.times[0]).toBe(since);
  expect(a.lines[0]?.values[0]).toBe(200);
  expect(a.lines[0]?.bounds?.[0]).toBe(200);
  expect(b.lines[0]?.values.slice(9, 11)).toEqual([null, 210]);
});

it('keeps the range when data covers half of it, and when there is none', () => {
  const whole = { a: align([series('in', 120)], look) };
  expect(beginAtData(whole)).toBe(whole);
  const none = { a: align([series('in', 999)], look), b: align([], look) };
  expect(beginAtData(none)).toBe(none);
});

it('keeps the right end of yesterday on a page that goes on', () => {
  const [day, minute, begin] = [86_400_000, 60_000, 100 * 86_400_000];
  const drawn = ({ from, to }: { from: number; to: number }) => {
    const times = Array.from({ length: Math.floor((to - from) / 15_000) + 1 }, (_, i) => from + i * 15_000);
    return { times, lines: [{ name: 'enrich', colour: '--s1', values: times.map(() => 1) }] };
  };
  const range = (now: number) => ({ from: now - 5 * minute, to: now });
  const past = drawn(earlier(range(begin), day, true));
  const end = (now: number) => overlay(drawn(range(now)), past, day, 'yesterday').lines[1]?.values.at(-1);
  for (let now = begin; now < begin + 2 * minute; now += 15_000) expect(end(now)).toBe(1);
  // The next question comes before that runs out; a range that stands still asks once.
  expect(end(begin + 3 * minute)).toBeNull();
  expect(turn(begin + minute, true)).not.toBe(turn(begin, true));
  expect(turn(begin + minute, false)).toBe(turn(begin, false));
  expect(earlier(range(begin), day, false).to).toBe(begin - day);
});

it('lays yesterday over today, keeps holes, and marks it as another day', () => {
  const day = 86_400_000;
  const line = (times: number[], values: (number | null)[]) => ({
    times,
    lines: [{ name: 'enrich', colour: '--s1', values }],
  });
  const now = line([1000, 2000, 3000, 9000], [1, 2, 3, 4]);
  const past = line([1010 - day, 2010 - day, 3010 - day], [10, null, 30]);
  const both = overlay(now, past, day, 'yesterday');
  expect(both.times).toEqual(now.times);
  expect(both.lines[1]).toMatchObject({ name: 'enrich, yesterday', values: [10, null, 30, null] });
  expect(both.lines[1]?.dash).toBeDefined();
  expect(overlay(now, line([], []), day, 'yesterday').lines[1]?.values).toEqual([null, null, null, null]);
});
