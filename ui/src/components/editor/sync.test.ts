import { expect, it } from 'vitest';
import { Echoes } from './sync';

it('knows its own words when they come back late', () => {
  const e = new Echoes();
  for (const t of ['a', 'ab', 'abc']) e.tell(t);
  expect(e.hear('a')).toBe(true);
  expect(e.hear('abc')).toBe(true);
});

it('takes what somebody else says, and what was typed before counts no more', () => {
  const e = new Echoes();
  e.tell('a');
  expect(e.hear('another')).toBe(false);
  expect(e.hear('a')).toBe(false);
});
