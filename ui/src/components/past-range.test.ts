import { expect, it } from 'vitest';
import { says } from './past-range';

const NOW = Date.parse('2026-11-25T14:40:00Z');
const HOUR = 3600e3;
const parts = { now: 'Map and stages', past: 'charts' };
const say = (from: number, to: number, at = NOW) => says(parts, { from, to }, at, NOW, 'UTC');

it('tells which part of the page is of when', () => {
  expect(say(NOW - 2 * HOUR, NOW - HOUR)).toBe('Map and stages are of now; charts of 12:40 to 13:40 UTC.');
  expect(say(NOW - 26 * HOUR, NOW - 25 * HOUR)).toBe('Map and stages are of now; charts of 24 Nov 12:40 to 13:40 UTC.');
  expect(say(NOW - 26 * HOUR, NOW - HOUR)).toBe(
    'Map and stages are of now; charts of 24 Nov 12:40 to 25 Nov 13:40 UTC.',
  );
});

it('calls an answer that stood still while paused no longer now', () => {
  expect(say(NOW - 2 * HOUR, NOW - HOUR, NOW - 5 * 60e3)).toBe(
    'Map and stages are of 14:35; charts of 12:40 to 13:40 UTC.',
  );
});
