import { expect, it } from 'vitest';
import type { FlowNode } from '../../api/types';
import { worstOf } from './worst';

const node = (state: string, stuck = false) => ({ id: state, state, stuck }) as unknown as FlowNode;

it('finds the node to be seen first', () => {
  const all = ['OK', 'DRAINING', 'UNKNOWN', 'LATE', 'LOSING'].map((s) => node(s));
  expect(worstOf([...all, { ...node('LATE', true), id: 'stuck' }])).toBe('stuck');
  for (const want of ['LOSING', 'LATE', 'UNKNOWN', 'DRAINING']) {
    expect(worstOf(all)).toBe(want);
    all.pop();
  }
  expect(worstOf([node('OK'), node('IDLE')])).toBeUndefined();
});
