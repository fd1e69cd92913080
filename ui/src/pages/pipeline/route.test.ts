import { expect, it } from 'vitest';
import { CURVE, route, sideOf } from './route';

const box = (x: number, y: number) => ({ id: '', column: 0, x, y, width: 100, height: 56 });

it('writes beside the end at which the edges of a fan have come apart', () => {
  expect(sideOf(1, 1)).toBe('middle');
  expect(sideOf(3, 1)).toBe('target');
  expect(sideOf(1, 3)).toBe('source');
});

it('bends where nothing is written', () => {
  const label = 60;
  for (const dy of [-200, -100, 100, 200]) {
    const out = route(box(0, 200), box(260, 200 + dy), 'target', label);
    // The curve ends at the height of the target before the label begins; from there the line is straight.
    const [, end] = /([\d.]+) [\d.]+H/.exec(out.path) as RegExpExecArray;
    expect(Number(end)).toBeLessThanOrEqual(out.x - label);
    expect(out).toMatchObject({ y: 228 + dy, anchor: 'end' });
    const into = route(box(0, 200 + dy), box(260, 200), 'source', label);
    const [, begin] = /H([\d.]+)C/.exec(into.path) as RegExpExecArray;
    expect(Number(begin)).toBeGreaterThanOrEqual(into.x + label);
    expect(into).toMatchObject({ y: 228 + dy, anchor: 'start' });
  }
});

it('keeps room for the curve where there is none for the label', () => {
  const r = route(box(0, 0), box(160, 100), 'target', 300);
  expect(r.path).toContain(` ${100 + CURVE} 128H`);
});

it('is one line between the boxes of a chain, and goes round for an edge that leads back', () => {
  expect(route(box(0, 0), box(200, 0), 'middle', 60)).toEqual({ path: 'M100 28H192', x: 147, y: 28, anchor: 'middle' });
  expect(route(box(300, 0), box(0, 0), 'middle', 60).path).toContain('C');
});
