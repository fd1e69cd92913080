import { expect, it } from 'vitest';
import { briefOf } from './pipelines-table';

const row = { lost_24h: 0, lost_bound: 0, freshness: 0.9, slowest: 'sink-es' };
const age = '0.9\u00a0s old at the sink';

it('says the lost, the age at the sink and the slowest stage in one line', () => {
  expect(briefOf({ ...row, lost_24h: 9_637_056 })).toEqual(['9,637,056 lost', age, 'sink-es']);
  expect(briefOf({ ...row, lost_bound: 10_000, freshness: null })).toEqual(['≤ 10,000 unknown', 'sink-es']);
  expect(briefOf({ ...row, slowest: '' })).toEqual([age]);
});
