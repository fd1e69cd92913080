import { expect, it } from 'vitest';
import type { PipelineRow } from '../../api/types';
import { countsSentence, filterRows, nearest, sortRows } from './rows';

const row = (id: string, state: string, seconds: number | null, lost = 0): PipelineRow =>
  ({
    id,
    state,
    slowest: 'enrich',
    lag: { seconds },
    lost_24h: lost,
    in: 1,
    out: 1,
    freshness: seconds,
  }) as PipelineRow;

const rows = [
  row('clicks', 'LOSING', 0.4, 9),
  row('orders', 'LATE', 230),
  row('ledger', 'UNKNOWN', null),
  row('billing', 'OK', 0.2),
];
const ids = (r: readonly PipelineRow[]) => r.map((x) => x.id).join(' ');

it('says the counts worst first and leaves out what is not there', () => {
  expect(countsSentence({ OK: 42, LATE: 1, LOSING: 2, UNKNOWN: 1 })).toBe('2 losing data, 1 late, 1 unknown, 42 ok');
  expect(countsSentence({})).toBe('');
});

it('filters by state and by text in name or stage', () => {
  expect(ids(filterRows(rows, 'LATE', ''))).toBe('orders');
  expect(ids(filterRows(rows, '', ' ORD '))).toBe('orders');
  expect(ids(filterRows(rows, '', 'enrich'))).toBe('clicks orders ledger billing');
  expect(filterRows(rows, '', '')).toBe(rows);
});

it('sorts largest first, and what is not known before all: it may be the worst', () => {
  expect(ids(sortRows(rows, 'lag'))).toBe('ledger orders clicks billing');
  expect(ids(sortRows(rows, 'name'))).toBe('billing clicks ledger orders');
  expect(ids(sortRows(rows, 'lost'))).toBe('clicks orders ledger billing');
  expect(sortRows(rows, '')).toBe(rows);
});

it('offers names that begin alike', () => {
  expect(nearest(rows, 'ordesr')).toEqual(['orders']);
  expect(nearest(rows, 'zzz')).toEqual([]);
});

it('puts never, and the soonest deletion, first', () => {
  const with_ = (id: string, lag: object, loss_in: number | null = null) =>
    ({ ...row(id, 'OK', 1), lag: { seconds: 1, ...lag }, loss_in }) as PipelineRow;
  const some = [
    with_('idle', {}),
    with_('soon', { drain: 60 }, 13_200),
    with_('never', { drain_never: true }, 500),
    with_('later', { drain: 900 }),
  ];
  expect(ids(sortRows(some, 'drain'))).toBe('never later soon idle');
  expect(ids(sortRows(some, 'lossin'))).toBe('never soon idle later');
});
