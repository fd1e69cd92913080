import { describe, expect, it } from 'vitest';
import {
  bound,
  bytes,
  count,
  duration,
  durationTick,
  percent,
  plural,
  rate,
  readAgo,
  spanDuration,
  value,
} from './format';

const plain = (s: string) => s.replace(/\u00a0/g, ' ');

describe('duration', () => {
  it.each([
    [null, '–'],
    [undefined, '–'],
    [Number.NaN, '–'],
    [0, '0 s'],
    [0.0000042, '4.2 µs'],
    [0.0042, '4.2 ms'],
    [0.0716, '72 ms'],
    [0.0999, '0.1 s'],
    [0.4, '0.4 s'],
    [2.13, '2.1 s'],
    [9.949, '9.9 s'],
    [9.96, '10 s'],
    [38, '38 s'],
    [59.4, '59 s'],
    [59.6, '1 m 00 s'],
    [230, '3 m 50 s'],
    [3599.7, '1 h 00 m'],
    [32_520, '9 h 02 m'],
    [86_399, '1 d 0 h'],
    [3 * 86_400 + 4 * 3600, '3 d 4 h'],
    [-230, '-3 m 50 s'],
  ])('%s is %s', (seconds, want) => expect(plain(duration(seconds))).toBe(want));
});

describe('spanDuration', () => {
  it.each([
    [0, '0 s'],
    [0.0000004, '0.4 µs'],
    [0.00121, '1.21 ms'],
    [0.18, '180 ms'],
    [1.221, '1.22 s'],
    [55.71, '55.7 s'],
    [261, '4 m 21 s'],
  ])('%s is %s', (seconds, want) => expect(plain(spanDuration(seconds))).toBe(want));
});

describe('durationTick', () => {
  it.each([
    [0, '0'],
    [0.05, '50 ms'],
    [0.15, '0.15 s'],
    [0.2, '0.2 s'],
    [15, '15 s'],
    [240, '4 m'],
    [5400, '1 h 30 m'],
    [7200, '2 h'],
    [172_800, '2 d'],
  ])('%s is %s', (seconds, want) => expect(plain(durationTick(seconds))).toBe(want));
});

describe('rate', () => {
  it.each([
    [null, '–'],
    [0, '0'],
    [0.004, '0.004'],
    [0.4, '0.4'],
    [6.94, '6.9'],
    [9.97, '10'],
    [640, '640'],
    [999.4, '999'],
    [999.6, '1.0 k'],
    [8123, '8.1 k'],
    [88_400, '88.4 k'],
    [99_960, '100 k'],
    [211_000, '211 k'],
    [999_600, '1.0 M'],
    [1_204_311, '1.2 M'],
    [5e15, '5000 T'],
  ])('%s is %s', (v, want) => expect(plain(rate(v))).toBe(want));
});

describe('percent', () => {
  it.each([
    [null, '–'],
    [0, '0 %'],
    [1, '100 %'],
    [0.0234, '2.3 %'],
    [0.41, '41 %'],
    [0.001, '0.1 %'],
    [0.00002, '< 0.01 %'],
    [0.9998, '99.98 %'],
    [0.999996, '99.999 %'],
    [0.9999999, '99.999 %'],
    [0.9949, '99.4 %'],
  ])('%s is %s', (v, want) => expect(plain(percent(v))).toBe(want));

  it('never rounds what is not all up to 100 %', () => {
    for (let p = 0.9; p < 1; p += 0.00037) expect(plain(percent(p))).not.toBe('100 %');
  });
});

describe('others', () => {
  it('counts exactly', () => {
    expect(count(1_204_311)).toBe('1,204,311');
    expect(count(null)).toBe('–');
  });
  it('writes bytes in binary units', () => {
    expect(plain(bytes(512))).toBe('512 B');
    expect(plain(bytes(1_468_006))).toBe('1.4 MiB');
    expect(plain(bytes(1023.7))).toBe('1.0 KiB');
    expect(bytes(undefined)).toBe('–');
  });
  it('writes samples of unknown unit', () => {
    expect(value(Number.POSITIVE_INFINITY)).toBe('+Inf');
    expect(value(Number.NaN)).toBe('NaN');
    expect(value(null)).toBe('–');
    expect(value(1234567)).toBe('1,234,567');
    expect(value(0.123456789)).toBe('0.123457');
    expect(value(1e-9)).toBe('1.000e-9');
  });
  it('tells how old offsets are only when that matters', () => {
    expect(plain(readAgo(18_400, 10_000))).toBe('read 8 s ago');
    expect(plain(readAgo(10_900, 10_000))).toBe('');
    expect(readAgo(10_000, undefined)).toBe('');
    expect(readAgo(10_000, 20_000)).toBe('');
  });

  it('writes an error bound only when there is one', () => {
    expect(plain(bound(2))).toBe('± 2 s');
    expect(bound(null)).toBe('');
    expect(bound(0)).toBe('');
  });
  it('knows one and many', () => {
    expect(plural(1, 'span')).toBe('1 span');
    expect(plural(2000, 'match', 'matches')).toBe('2,000 matches');
  });
});
