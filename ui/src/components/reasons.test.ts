import { expect, it } from 'vitest';
import { alike } from './reasons';

it('puts reasons together that differ only in figures, in the order they come', () => {
  const reasons = ['10,001 in, 9,901 out.', '1 of 176 ids (0.57 %).', '9,999 in, 9,900 out.', 'The auditor is silent.'];
  expect(alike(reasons)).toEqual([[reasons[0], reasons[2]], [reasons[1]], [reasons[3]]]);
});
