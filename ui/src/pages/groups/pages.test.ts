import { expect, it } from 'vitest';
import { pagesOf, topicOf } from './pages';

it('asks for the pages in sight, and always for the first', () => {
  expect(pagesOf(0, 20)).toEqual([0]);
  expect(pagesOf(90, 110)).toEqual([0, 1]);
  expect(pagesOf(14_980, 14_999)).toEqual([0, 149]);
});

it('follows a page with the parameters of its request', () => {
  const question = { q: 'a&b', state: '', system: 'kafka', sort: 'lag' } as const;
  expect(topicOf(question, 2)).toEqual({
    topic: 'groups',
    query: 'q=a%26b&system=kafka&sort=lag&limit=100&offset=200',
  });
});
