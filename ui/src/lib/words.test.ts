import { expect, it } from 'vitest';
import { evidence, howSure, restsOn } from './words';

it('never calls a probable loss proved', () => {
  expect(howSure(0.999)).toBe('as good as proved');
  for (const c of [0.9, 0.72, 0.6]) expect(howSure(c)).not.toContain('as good as');
  expect(howSure(0)).toBe('not known');
});

it('has words for each level, and says so when there is none', () => {
  for (const l of ['L0', 'L1', 'L2', 'L3', 'T']) expect(restsOn(l)).not.toBe('no evidence');
  expect(evidence('')).toBe('none');
});
