import { expect, it } from 'vitest';
import { summed } from './summed';

it('says of how many windows the sum is', () => {
  expect(summed(131, 57, 60)).toBe('Newest 57 of 131 windows');
  expect(summed(4, 4, 8)).toBe('All 4 windows');
  expect(summed(1, 1, 3)).toBe('Its one window');
  expect(summed(3, 5, 9)).toBe('5 windows from its begin to its end');
  expect(summed(3, 0, 1)).toBe('1 window around it, none of its own is at hand');
  expect(summed(3, 0, 0)).toBe('No balance is at hand');
});
