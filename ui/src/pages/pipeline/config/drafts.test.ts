import { expect, it } from 'vitest';
import { draftOf, dropDraft, keepDraft } from './drafts';

it('keeps the draft of each pipeline apart', () => {
  keepDraft('orders', { text: 'id: orders', base: 3 });
  keepDraft('billing', { text: 'id: billing', base: 0 });
  expect(draftOf('orders')).toEqual({ text: 'id: orders', base: 3 });
  dropDraft('orders');
  expect(draftOf('orders')).toBeUndefined();
  expect(draftOf('billing')?.base).toBe(0);
});

it('is bounded: the one written least lately goes first', () => {
  for (let i = 0; i < 20; i++) keepDraft(`p${i}`, { text: '', base: 0 });
  keepDraft('p0', { text: 'again', base: 0 });
  keepDraft('one more', { text: '', base: 0 });
  expect(draftOf('p0')?.text).toBe('again');
  expect(draftOf('p1')).toBeUndefined();
});
