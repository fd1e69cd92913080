import { cleanup, render } from '@testing-library/react';
import { afterEach, expect, it } from 'vitest';
import type { LossRow } from '../api/types';
import { LossTable, missing } from './loss-table';

afterEach(cleanup);

const row = (more: Partial<LossRow>): LossRow => ({
  id: 'a',
  pipeline: 'orders',
  kind: 'transport',
  where: 'a → b',
  verdict: 'OK',
  since: null,
  still: false,
  lost: 0,
  bound: 0,
  surplus: 0,
  up: 5000,
  down: 3800,
  share: null,
  class: '',
  level: 'L2',
  confidence: 0.99,
  incident: '',
  ribbon: [],
  ...more,
});
const lost = (more: Partial<LossRow>) => {
  const { container } = render(
    <LossTable rows={[row(more)]} from={0} to={3600e3} zone="UTC" cursor={-1} span="" open={() => undefined} />,
  );
  return container.querySelectorAll('td')[4]?.textContent;
};

it('says how many are outstanding, and claims no reason that the row does not tell', () => {
  expect(lost({ verdict: 'LATE' })).toBe('1,200 outstanding');
  expect(lost({ verdict: 'IN_FLIGHT' })).toBe('1,200 outstanding');
  expect(lost({ verdict: 'FILTERED', kind: 'balance' })).toBe('1,200 fewer out');
  expect(lost({ verdict: 'LATE', down: 5000 })).toBe('–');
  expect(lost({ verdict: 'IN_FLIGHT', down: 9000 })).toBe('–');
});

it('keeps what was said before about the other verdicts', () => {
  expect(lost({ verdict: 'OK' })).toBe('0');
  expect(lost({ verdict: 'LOSS', lost: 7, bound: 3 })).toBe('7≤ 3 unknown');
  expect(lost({ verdict: 'LATE', bound: 9 })).toBe('≤ 9');
  expect(lost({ verdict: 'UNKNOWN' })).toBe('?');
  expect(missing(row({ verdict: 'LOSS', lost: 1200 }))).toBe('');
});
