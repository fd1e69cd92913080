import { expect, it } from 'vitest';
import { pagesOf } from './pages';

it('asks for the pages in sight, and always for the first', () => {
  expect(pagesOf(0, 20)).toEqual([0]);
  expect(pagesOf(90, 110)).toEqual([0, 1]);
  expect(pagesOf(14_980, 14_999)).toEqual([0, 149]);
});
