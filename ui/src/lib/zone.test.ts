import { expect, it, vi } from 'vitest';
import { parseTime, spanText, zoneName } from './time';

// Before the first format of the local zone is made, and in a file of its own: it holds for the process.
vi.stubEnv('TZ', 'Europe/Berlin');

it('names the local zone as it is at the shown time', () => {
  expect(zoneName('local', Date.parse('2026-01-15T12:00Z'))).toBe('CET');
  expect(zoneName('local', Date.parse('2026-07-15T12:00Z'))).toBe('CEST');
  expect(spanText(Date.parse('2026-07-15T12:00Z'), Date.parse('2026-07-15T13:00Z'), 'local')).toBe(
    '15 Jul 2026, 14:00:00 to 15:00:00 CEST',
  );
});

it('reads a day as that of the local zone', () => {
  expect(parseTime('2026-07-15', 0, 'local')).toBe(Date.parse('2026-07-14T22:00Z'));
});
