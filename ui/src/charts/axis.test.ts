import { expect, it } from 'vitest';
import { axisEnd, placeLabels, tickLabels } from './axis';

const at = (text: string) => Date.parse(text);
const every = (from: string, hours: number, n: number) =>
  Array.from({ length: n }, (_, i) => at(from) + i * hours * 3600e3);

it('names the day at midnight of the zone, and only there', () => {
  expect(tickLabels(every('2026-11-24T18:00Z', 3, 4), 'UTC')).toEqual(['18:00', '21:00', '25 Nov', '03:00']);
  expect(tickLabels(every('2026-11-24T17:00Z', 3, 4), 'Europe/Berlin')).toEqual(['18:00', '21:00', '25 Nov', '03:00']);
});

it('names days where a step is a day or more', () => {
  expect(tickLabels(every('2026-11-22T00:00Z', 24, 3), 'UTC')).toEqual(['22 Nov', '23 Nov', '24 Nov']);
  const spring = ['2026-03-28T23:00Z', '2026-03-29T22:00Z', '2026-03-30T22:00Z'].map(at);
  expect(tickLabels(spring, 'Europe/Berlin')).toEqual(['29 Mar', '30 Mar', '31 Mar']);
});

it('shows seconds where a step is less than a minute', () => {
  expect(tickLabels([at('2026-11-24T23:59:30Z'), at('2026-11-25T00:00:00Z')], 'UTC')).toEqual(['23:59:30', '25 Nov']);
});

it('ends with the zone as it was then, and the day when that is not today', () => {
  const now = at('2026-11-25T14:00Z');
  expect(axisEnd(now, 'UTC', now)).toBe('UTC');
  expect(axisEnd(now - 86_400e3, 'UTC', now)).toBe('24 Nov, UTC');
});

it('labels places of a strip: the day where it changes, days alone over many', () => {
  const now = at('2026-11-25T14:00Z');
  expect(placeLabels(every('2026-11-25T12:00Z', 1, 3), 'UTC', now)).toEqual(['12:00', '13:00', '14:00']);
  expect(placeLabels(every('2026-11-23T12:00Z', 1, 3), 'UTC', now)).toEqual(['23 Nov 12:00', '13:00', '14:00']);
  expect(placeLabels(every('2026-11-24T14:00Z', 12, 3), 'UTC', now)).toEqual(['24 Nov 14:00', '25 Nov 02:00', '14:00']);
  expect(placeLabels(every('2026-11-18T14:00Z', 84, 3), 'UTC', now)).toEqual(['18 Nov', '22 Nov', '25 Nov']);
  expect(placeLabels([], 'UTC', now)).toEqual([]);
});
