import { expect, it } from 'vitest';
import type { Edge, FlowNode } from '../../api/types';
import { labelOf, roomOf, saysOf, waysOf } from './edge';

const node = (id: string, out: number | null) => ({ id, name: id, out }) as unknown as FlowNode;
const edge = (from: string, to: string, more: Partial<Edge> = {}) =>
  ({ id: `${from}>${to}`, from, to, state: 'OK', rate: null, lag: null, lost: 0, ...more }) as Edge;

const nodes = [node('a', 990), node('b', 5), node('c', null), node('d', 7)];

it('calls a branch a part of what the stage gives', () => {
  const [b, c, d] = waysOf(nodes, [edge('a', 'b'), edge('a', 'c', { state: 'UNKNOWN' }), edge('b', 'd')]);
  expect(b?.partOf).toBe(990);
  expect(b?.side).toBe('target');
  expect(saysOf(0, b as never)).toContain('part of 990 per second');
  expect(c?.partOf, 'what is unknown is not called a part').toBeUndefined();
  expect(saysOf(0, c as never)).toBe('rate not known, state not known');
  expect(d?.partOf, 'a single edge without a rate is no part').toBeUndefined();
});

it('keeps the map still while figures move, and gives long labels room', () => {
  const plain = (rate: number) => waysOf(nodes, [edge('a', 'b', { rate })])[0] as never;
  expect(roomOf(plain(1))).toBe(roomOf(plain(123_456)));
  const [losing] = waysOf(nodes, [edge('a', 'b', { rate: 1, lost: 9_701_233 })]);
  expect(labelOf(losing as never)).toBeGreaterThan(labelOf(plain(1)));
  expect(saysOf(0, losing as never)).toBe('1 per second, 9,701,233 lost in 24 h');
});
