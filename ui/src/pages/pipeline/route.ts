// How an edge is drawn between two boxes, and where its label stands so that no line crosses it. Pure.
import type { Box } from './layout';

/** Where the label stands: between two boxes of a chain, at the targets of a fan-out, at the sources of a fan-in. */
export type Side = 'middle' | 'target' | 'source';

export interface Route {
  path: string;
  /** Where the label stands, and how it is aligned there. */
  x: number;
  y: number;
  anchor: 'start' | 'middle' | 'end';
}

const HEAD = 8;
/** Beside the label: the head of the arrow, and air. */
const BESIDE = 12;
/** What a curve needs at least. */
export const CURVE = 54;

/** `outs` and `ins`: how many edges leave the source, and how many reach the target. */
export function sideOf(outs: number, ins: number): Side {
  return outs > 1 ? 'target' : ins > 1 ? 'source' : 'middle';
}

/** `label` is the width of the widest text; the line runs straight beside it, and bends where nothing is written. */
export function route(a: Box, b: Box, side: Side, label: number): Route {
  const x1 = a.x + a.width;
  const y1 = a.y + a.height / 2;
  const x2 = b.x;
  const y2 = b.y + b.height / 2;
  if (x2 <= x1)
    return {
      path: `M${x1} ${y1}C${x1 + 60} ${y1 + 90} ${x2 - 60} ${y2 + 90} ${x2 - HEAD} ${y2}`,
      x: (x1 + x2) / 2,
      y: (y1 + y2) / 2 + 60,
      anchor: 'middle',
    };
  const level = Math.abs(y1 - y2) < 1;
  if (level && side === 'middle')
    return { path: `M${x1} ${y1}H${x2 - HEAD}`, x: (x1 + x2) / 2 - 3, y: y1, anchor: 'middle' };
  const run = Math.min(label + 2 * BESIDE, Math.max(0, x2 - x1 - CURVE));
  if (side === 'source') {
    const from = x1 + run;
    const bend = (x2 - from) / 2;
    return {
      path: level
        ? `M${x1} ${y1}H${x2 - HEAD}`
        : `M${x1} ${y1}H${from}C${from + bend} ${y1} ${x2 - bend} ${y2} ${x2 - HEAD} ${y2}`,
      x: x1 + BESIDE,
      y: y1,
      anchor: 'start',
    };
  }
  const to = x2 - run;
  const bend = (to - x1) / 2;
  return {
    path: level
      ? `M${x1} ${y1}H${x2 - HEAD}`
      : `M${x1} ${y1}C${x1 + bend} ${y1} ${to - bend} ${y2} ${to} ${y2}H${x2 - HEAD}`,
    x: x2 - BESIDE,
    y: y2,
    anchor: 'end',
  };
}
