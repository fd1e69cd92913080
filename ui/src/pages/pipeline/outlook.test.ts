import { expect, it } from 'vitest';
import type { Forecast } from '../../api/types';
import { outlookOf } from './outlook';

const forecast = (group: string, drain: number | null | undefined, loss?: number) =>
  ({
    group,
    drain: drain === undefined ? null : { value: drain, low: null, high: null },
    loss_in: loss === undefined ? null : { value: loss, low: null, high: null },
    retention: null,
  }) as unknown as Forecast;

it('takes the backlog that is gone last and the deletion that comes first', () => {
  const forecasts = [forecast('a', 60, 9000), forecast('b', 750, 15_000), forecast('c', undefined)];
  const o = outlookOf({ state: 'LATE', forecasts });
  expect(o?.drains?.group).toBe('b');
  expect(o?.deletes?.group).toBe('a');
  expect(outlookOf({ state: 'LATE', forecasts: [...forecasts, forecast('d', null)] })?.drains?.group).toBe('d');
});

it('says nothing of a pipeline that keeps up', () => {
  expect(outlookOf({ state: 'OK', forecasts: [forecast('a', 3)] })).toBeUndefined();
  expect(outlookOf({ state: 'IDLE', forecasts: null })).toBeUndefined();
  expect(outlookOf({ state: 'LOSING', forecasts: [forecast('a', undefined)] })).toBeUndefined();
});

it('has a line for what is deleted unread in any state, for a backlog that LOSING hides, and for not knowing', () => {
  expect(outlookOf({ state: 'OK', forecasts: [forecast('a', undefined, 60)] })?.deletes?.group).toBe('a');
  expect(outlookOf({ state: 'LOSING', forecasts: [forecast('a', null)] })?.drains?.group).toBe('a');
  expect(outlookOf({ state: 'LATE', forecasts: null })).toEqual({ drains: undefined, deletes: undefined, kept: false });
});
