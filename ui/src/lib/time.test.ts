import { describe, expect, it } from 'vitest';
import {
  clock,
  formatSpan,
  full,
  isRelative,
  parseSpan,
  parseTime,
  rangeLabel,
  resolve,
  spanText,
  validZone,
  when,
  whenSeconds,
  zoneName,
} from './time';

const NOW = Date.UTC(2026, 10, 25, 14, 40, 0);

describe('parseTime', () => {
  it.each([
    ['now', NOW],
    ['now-1h', NOW - 3600e3],
    ['now-1h30m', NOW - 5400e3],
    [' now-90s ', NOW - 90e3],
    ['1764081600000', 1_764_081_600_000],
    ['1764081600', 1_764_081_600_000],
    ['2026-11-25T14:00:00Z', Date.UTC(2026, 10, 25, 14)],
    ['now-', undefined],
    ['now-5', undefined],
    ['yesterday', undefined],
    ['now-0s', undefined],
    ['2026-99-99', undefined],
    ['2026-02-30', undefined],
    ['2026-11-25 24:00', undefined],
    ['2026-11-25 2pm', undefined],
    ['', undefined],
  ])('%s', (text, want) => expect(parseTime(text, NOW, 'UTC')).toBe(want));

  // Clocks in Berlin went forward on 29 March 2026 at 02:00 and back on 25 October at 03:00.
  it.each([
    ['2026-01-31T14:00', 'UTC', '2026-01-31T14:00Z'],
    ['2026-01-31 14:00', 'Europe/Berlin', '2026-01-31T13:00Z'],
    ['2026-07-01T14:00:30', 'Europe/Berlin', '2026-07-01T12:00:30Z'],
    ['2026-07-01', 'Europe/Berlin', '2026-06-30T22:00Z'],
    ['2026-07-01', 'America/New_York', '2026-07-01T04:00Z'],
    ['2026-07-01 06:00', 'Asia/Kolkata', '2026-07-01T00:30Z'],
    ['2026-07-01T14:00+05:00', 'Europe/Berlin', '2026-07-01T09:00Z'],
    ['2026-07-01T14:00Z', 'Europe/Berlin', '2026-07-01T14:00Z'],
    ['2026-03-29', 'Europe/Berlin', '2026-03-28T23:00Z'],
    ['2026-03-29 01:59', 'Europe/Berlin', '2026-03-29T00:59Z'],
    ['2026-03-29 02:30', 'Europe/Berlin', '2026-03-29T01:30Z'],
    ['2026-03-29 03:00', 'Europe/Berlin', '2026-03-29T01:00Z'],
    ['2026-03-30', 'Europe/Berlin', '2026-03-29T22:00Z'],
    ['2026-10-25 01:59', 'Europe/Berlin', '2026-10-24T23:59Z'],
    ['2026-10-25 02:30', 'Europe/Berlin', '2026-10-25T00:30Z'],
    ['2026-10-25 03:00', 'Europe/Berlin', '2026-10-25T02:00Z'],
    ['2026-11-01 01:30', 'America/New_York', '2026-11-01T05:30Z'],
    ['2026-04-05 02:15', 'Australia/Lord_Howe', '2026-04-04T15:45Z'],
  ])('%s in %s', (text, zone, want) =>
    expect(new Date(parseTime(text, NOW, zone) as number).toISOString()).toBe(new Date(want).toISOString()),
  );
});

describe('spans', () => {
  it('reads and writes', () => {
    for (const s of ['5m', '1h', '6h', '7d', '90s']) expect(formatSpan(parseSpan(s) as number)).toBe(s);
    expect(parseSpan('1x')).toBeUndefined();
  });
});

describe('resolve', () => {
  it('falls back to the last hour when the ends make no range', () => {
    expect(resolve('now', 'now-1h', NOW)).toEqual({ from: NOW - 3600e3, to: NOW });
    expect(resolve('x', 'now', NOW)).toEqual({ from: NOW - 3600e3, to: NOW });
    expect(resolve('now-5m', 'now', NOW)).toEqual({ from: NOW - 300e3, to: NOW });
  });
});

describe('words', () => {
  it('names relative ranges', () => {
    expect(rangeLabel('now-1h', 'now', 'UTC')).toBe('Last 1 hour');
    expect(rangeLabel('now-24h', 'now', 'UTC')).toBe('Last 24 hours');
    expect(rangeLabel('now-7d', 'now', 'UTC')).toBe('Last 7 days');
    expect(rangeLabel('now-15m', 'now', 'UTC')).toBe('Last 15 minutes');
    expect(rangeLabel(String(NOW - 3600e3), String(NOW), 'UTC')).toBe('25 Nov 13:40 – 14:40');
    expect(rangeLabel('1764081600000', 'now', 'UTC')).toBe('25 Nov 14:40 – now');
  });
  it('shows the same moment in the zone asked for', () => {
    expect(clock(NOW, 'UTC')).toBe('14:40');
    expect(clock(NOW, 'Asia/Tokyo')).toBe('23:40');
    expect(full(NOW, 'UTC')).toBe('25 Nov 2026, 14:40:00');
    expect(when(NOW - 86_400e3, 'UTC', NOW)).toBe('24 Nov 14:40');
    expect(whenSeconds(NOW - 86_400e3, 'UTC', NOW)).toBe('24 Nov 14:40:00');
    expect(whenSeconds(NOW - 30e3, 'UTC', NOW)).toBe('14:39:30');
    expect(clock(Date.UTC(2026, 0, 1), 'UTC')).toBe('00:00');
  });
  it('tells both ends of a range with the zone', () => {
    expect(spanText(NOW - 3600e3, NOW, 'UTC')).toBe('25 Nov 2026, 13:40:00 to 14:40:00 UTC');
    expect(spanText(NOW - 86_400e3, NOW, 'UTC')).toBe('24 Nov 2026, 14:40:00 to 25 Nov 2026, 14:40:00 UTC');
  });
  it('takes a range that ends now for one that goes on', () => {
    expect(isRelative('now')).toBe(true);
    expect(isRelative('now-1h')).toBe(false);
  });
  it('names zones and knows wrong ones', () => {
    expect(zoneName('UTC', NOW)).toBe('UTC');
    expect(zoneName('America/New_York', NOW)).toBe('America/New York');
    expect(zoneName('America/Argentina/La_Rioja', NOW)).toBe('America/Argentina/La Rioja');
    expect(validZone('Mars/Olympus')).toBe(false);
  });
});
