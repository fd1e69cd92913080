import { expect, it } from 'vitest';
import type { PartitionRow } from '../api/types';
import { backlogText, sortPartitions } from './partitions-table';

const p = (partition: string, messages: number | null) =>
  ({ partition, lag: { messages, seconds: messages } }) as unknown as PartitionRow;
const names = (rows: readonly PartitionRow[]) => rows.map((r) => r.partition).join(' ');

it('never counts what is not known as nothing', () => {
  expect(backlogText([p('0', null)])).toBe('unread records of 1 partition not known');
  expect(backlogText([p('0', 5), p('1', null)])).toBe('at least 5 unread records in 2 partitions, 1 of them not known');
  expect(backlogText([p('0', 1)])).toBe('1 unread record in 1 partition');
});

it('puts the unknown, then the largest first, and numbers in their order', () => {
  const rows = [p('2', 5), p('10', 9), p('1', null), p('3', 5)];
  expect(names(sortPartitions(rows, 'messages'))).toBe('1 10 2 3');
  expect(names(sortPartitions(rows, 'name'))).toBe('1 2 3 10');
});
