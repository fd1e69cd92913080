import { describe, expect, it } from 'vitest';
import { clock, formatSpan, full, parseSpan, parseTime, rangeLabel, resolve, validZone, when, zoneName } from './time';

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
    ['', undefined],
  ])('%s', (text, want) => expect(parseTime(text, NOW)).toBe(want));
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
  });
  it('shows the same moment in the zone asked for', () => {
    expect(clock(NOW, 'UTC')).toBe('14:40');
    expect(clock(NOW, 'Asia/Tokyo')).toBe('23:40');
    expect(full(NOW, 'UTC')).toBe('25 Nov 2026, 14:40:00');
    expect(when(NOW - 86_400e3, 'UTC', NOW)).toBe('24 Nov 14:40');
    expect(clock(Date.UTC(2026, 0, 1), 'UTC')).toBe('00:00');
  });
  it('names zones and knows wrong ones', () => {
    expect(zoneName('UTC')).toBe('UTC');
    expect(zoneName('America/New_York')).toBe('America/New York');
    expect(validZone('Mars/Olympus')).toBe(false);
  });
});
