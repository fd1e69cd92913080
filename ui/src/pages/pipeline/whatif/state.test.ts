import { expect, it } from 'vitest';
import { type Change, decode, encode } from './state';

it('gives back what it wrote', () => {
  const all: Change[] = [
    {},
    { consumers: 6 },
    { inflow: 1.5, each: 0.25 },
    { keep: 6 * 3600, partitions: 24, consumers: 12, inflow: 0.1, each: 4 },
  ];
  for (const c of all) expect(decode(encode(c))).toEqual(c);
  expect(encode({})).toBe('open');
});

it('opens a mistyped link without what makes no sense', () => {
  expect(decode('consumers:-3,inflow:much,keep:for ever,partitions:1.5,sugar:2')).toEqual({});
  expect(decode('consumers:1e9,inflow:2')).toEqual({ inflow: 2 });
});
