import { cleanup, render } from '@testing-library/react';
import { afterEach, expect, it } from 'vitest';
import type { LossWindow } from '../api/types';
import { Equation, sum } from './equation';

afterEach(cleanup);

const w = (up: number, down: number, lost: number, more: Partial<LossWindow> = {}): LossWindow => ({
  window: 0,
  width: 60,
  verdict: 'LOSS',
  settled: true,
  settled_at: 0,
  up,
  down,
  filtered: 0,
  dlq: 0,
  dropped: 0,
  in_flight: 0,
  lost,
  surplus: 0,
  epsilon: 0,
  revision: 1,
  confidence: 1,
  ...more,
});

it('adds up windows and shows every term', () => {
  const b = sum([w(100, 90, 10), w(100, 95, 2, { dlq: 3 })]);
  expect(b).toMatchObject({ up: 200, down: 185, dlq: 3, lost: 12 });
  const { container } = render(<Equation b={b} />);
  expect(container.textContent).toBe('200in=185out+0filtered+3dead letters+0in flight+12LOST');
  expect(container.querySelector('.lost')?.textContent).toContain('12');
});

it('says nothing was lost only when that is known', () => {
  expect(render(<Equation b={sum([w(5, 5, 0)])} />).container.querySelector('.lost')).toBeNull();
  const unknown = render(<Equation b={sum([w(5, 0, 0)])} known={false} />).container;
  expect(unknown.querySelector('.unknown')?.textContent).toBe('?LOST');
});
