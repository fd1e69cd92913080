import { describe, expect, it } from 'vitest';
import { diff } from '../../mock/live.mjs';
import { mergePatch } from './merge';

describe('RFC 7396, the cases of its appendix', () => {
  it.each([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [1, 2] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('%j + %j', (target, patch, want) => expect(mergePatch<unknown>(target, patch)).toEqual(want));
});

describe('arrays of rows', () => {
  const rows = [
    { id: 'a', n: 1 },
    { id: 'b', n: 2 },
    { id: 'c', n: 3 },
  ];
  it('sets, deletes, adds, orders', () => {
    expect(mergePatch({ rows }, { rows: { set: [{ id: 'b', n: 9 }], del: ['a'] } })).toEqual({
      rows: [
        { id: 'b', n: 9 },
        { id: 'c', n: 3 },
      ],
    });
    expect(
      mergePatch({ rows }, { rows: { set: [{ id: 'd', n: 4 }], del: [], order: ['d', 'c', 'b', 'a'] } }).rows.map(
        (r) => r.id,
      ),
    ).toEqual(['d', 'c', 'b', 'a']);
  });
  it('replaces a set row whole: what the new one lacks is gone', () => {
    const out = mergePatch(
      { rows: [{ id: 'a', x: 1, y: 2 }] as { id: string; x?: number; y?: number }[] },
      { rows: { set: [{ id: 'a', x: 5 }] } },
    );
    expect(out.rows).toEqual([{ id: 'a', x: 5 }]);
  });
  it('starts from nothing when the list was null', () => {
    expect(mergePatch({ rows: null }, { rows: { set: [{ id: 'a' }], del: [] } })).toEqual({ rows: [{ id: 'a' }] });
  });
  it('loses no row that order forgets, and skips ids it does not have', () => {
    expect(mergePatch({ rows }, { rows: { set: [], del: [], order: ['c', 'z'] } }).rows.map((r) => r.id)).toEqual([
      'c',
      'a',
      'b',
    ]);
  });
  it('keeps the identity of rows that did not change', () => {
    const out = mergePatch({ rows }, { rows: { set: [{ id: 'b', n: 9 }], del: [] } });
    expect(out.rows[0]).toBe(rows[0]);
    expect(out.rows).not.toBe(rows);
    expect(rows[1]).toEqual({ id: 'b', n: 2 });
  });
});

it('undoes what a server of this protocol computes, for random answers', () => {
  let seed = 7;
  const random = (n: number) => {
    seed = (seed * 16807) % 2147483647;
    return seed % n;
  };
  const answer = () => {
    const ids = ['a', 'b', 'c', 'd', 'e'].filter(() => random(3) > 0).sort(() => random(2) - 0.5);
    return {
      at: random(1000),
      counts: Object.fromEntries(['OK', 'LATE', 'IDLE'].filter(() => random(2)).map((k) => [k, random(9)])),
      rows: ids.map((id) => ({
        id,
        n: random(3),
        lag: { history: [random(2), random(2)], drain: random(3) || undefined },
      })),
      list: Array.from({ length: random(3) }, () => random(5)),
    };
  };
  let before = answer();
  for (let i = 0; i < 2000; i++) {
    const after = answer();
    const patch = diff(before, after);
    const got: unknown = patch === undefined ? before : mergePatch<unknown>(before, JSON.parse(JSON.stringify(patch)));
    expect(JSON.parse(JSON.stringify(got))).toEqual(JSON.parse(JSON.stringify(after)));
    before = after;
  }
});
