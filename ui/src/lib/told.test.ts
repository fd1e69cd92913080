import { expect, it } from 'vitest';
import { told } from './told';

const NOW = Date.parse('2026-11-28T20:00:00Z');

it.each([
  ['It began at 19:05:13 UTC. The rest.', 'It began at 20:05:13. The rest.'],
  ['since 2026-11-28 19:14:50 UTC, and it goes on', 'since 20:14:50, and it goes on'],
  ['from 2026-11-27 19:14:50 to 19:20:00 UTC: dropped', 'from 27 Nov 20:14:50 to 20:20:00: dropped'],
  ['from 2026-11-28 22:59:00 to 23:05:00 UTC', 'from 23:59:00 to 29 Nov 00:05:00'],
  ['from 2026-11-26 10:00:00 to 2026-11-27 11:00:00 UTC', 'from 26 Nov 11:00:00 to 27 Nov 12:00:00'],
  ['at 23:30 UTC yesterday', 'at 00:30 yesterday'],
  ['6.9 k/s of 8.1 k/s', '6.9 k/s of 8.1 k/s'],
])('%s', (utc, local) => {
  expect(told(utc, 'Europe/Prague', NOW)).toBe(local);
  expect(told(utc, 'UTC', NOW)).toBe(utc);
});
