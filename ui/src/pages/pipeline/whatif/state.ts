// A what-if in the URL: `wi=consumers:6,inflow:1.5,each:2,keep:6h,partitions:24`; `wi=open` changes nothing.
import type { WhatIfQuery } from '../../../api/hooks';
import { formatSpan, parseSpan } from '../../../lib/time';

export interface Change {
  /** Members of the group. */
  consumers?: number;
  /** Factor on what flows in. */
  inflow?: number;
  /** Factor on what one consumer takes. */
  each?: number;
  /** Seconds a record is kept. */
  keep?: number;
  partitions?: number;
}

const OPEN = 'open';
const MOST: Record<keyof Change, number> = {
  consumers: 100_000,
  inflow: 1000,
  each: 1000,
  keep: 1e9,
  partitions: 100_000,
};
const KEYS = Object.keys(MOST) as (keyof Change)[];
const WHOLE = new Set<keyof Change>(['consumers', 'partitions']);

/** Reads the URL; what makes no sense is left out. */
export function decode(text: string): Change {
  const out: Change = {};
  for (const part of text.split(',')) {
    const [key, value] = part.split(':') as [keyof Change, string | undefined];
    if (!KEYS.includes(key) || !value) continue;
    const n = key === 'keep' ? (parseSpan(value) ?? 0) / 1000 : Number(value);
    if (n > 0 && n <= MOST[key] && (!WHOLE.has(key) || Number.isInteger(n))) out[key] = n;
  }
  return out;
}

/** Writes an open what-if; decode(encode(c)) is c. */
export function encode(c: Change): string {
  const parts = KEYS.filter((k) => c[k] !== undefined).map((k) =>
    k === 'keep' ? `keep:${formatSpan((c.keep as number) * 1000)}` : `${k}:${c[k]}`,
  );
  return parts.join(',') || OPEN;
}

export const query = (c: Change): WhatIfQuery => ({
  consumers: c.consumers,
  rate: c.inflow,
  per_consumer: c.each,
  retention: c.keep,
  partitions: c.partitions,
});
