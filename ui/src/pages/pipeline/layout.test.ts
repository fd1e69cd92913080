import { describe, expect, it } from 'vitest';
import { columns, place } from './layout';

const edge = (s: string) => ({ from: s[0] as string, to: s[1] as string });

describe('columns', () => {
  it('puts a node behind the longest way to it', () => {
    expect(Object.fromEntries(columns(['a', 'b', 'c', 'd'], ['ab', 'bc', 'ac', 'cd', 'ad'].map(edge)))).toEqual({
      a: 0,
      b: 1,
      c: 2,
      d: 3,
    });
  });
  it('survives circles, loops and edges to nowhere', () => {
    expect(Object.fromEntries(columns(['a', 'b', 'c'], ['ab', 'bc', 'cb', 'bb', 'cz'].map(edge)))).toEqual({
      a: 0,
      b: 1,
      c: 2,
    });
    expect(Object.fromEntries(columns(['a', 'b'], ['ab', 'ba'].map(edge)))).toEqual({ a: 0, b: 1 });
  });
});

describe('place', () => {
  const nodes = ['a', 'b', 'c', 'd', 'e'].map((id) => ({ id, width: 100, height: 50 }));
  const edges = ['ab', 'bc', 'bd', 'be'].map(edge);
  it('lets no two boxes overlap and keeps edges going right', () => {
    const { boxes, width, height } = place(nodes, edges, () => 60);
    const all = [...boxes.values()];
    for (const p of all)
      for (const q of all)
        if (p !== q)
          expect(p.x + p.width <= q.x || q.x + q.width <= p.x || p.y + p.height <= q.y || q.y + q.height <= p.y).toBe(
            true,
          );
    for (const e of edges) expect((boxes.get(e.from)?.x ?? 0) + 100).toBeLessThan(boxes.get(e.to)?.x ?? 0);
    for (const b of all) {
      expect(b.x + b.width).toBeLessThanOrEqual(width);
      expect(b.y + b.height).toBeLessThanOrEqual(height);
    }
  });
  it('spreads over the room there is, up to a point', () => {
    expect(place(nodes, edges, () => 60, 500).width).toBe(502);
    expect(place(nodes, edges, () => 60, 5000).width).toBeLessThan(700);
  });
  it('places nothing without nodes', () => {
    expect(place([], [], () => 60)).toMatchObject({ width: 2 });
  });
});
