import { expect, it } from 'vitest';
import type { LossRow } from '../api/types';
import { worstIncident } from './open-incident';

const row = (incident: string, still: boolean, lost: number, bound = 0) =>
  ({ incident, still, lost, bound }) as unknown as LossRow;

it('prefers what goes on, then what lost most, then what is unknown most', () => {
  const past = row('past', false, 9000);
  const small = row('small', true, 3);
  const large = row('large', true, 70);
  expect(worstIncident([past, small, large])?.incident).toBe('large');
  expect(worstIncident([past])?.incident).toBe('past');
  expect(worstIncident([row('a', false, 0, 5), row('b', false, 0, 50)])?.incident).toBe('b');
});

it('finds none where no row has an incident', () => {
  expect(worstIncident([])).toBeUndefined();
  expect(worstIncident([row('', true, 12)])).toBeUndefined();
});
