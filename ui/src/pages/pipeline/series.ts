// Series of the API as lines of a chart: one time axis, holes kept, another day laid over.
import { list, type Series } from '../../api/types';
import type { Line } from '../../charts/chart';

export const isLag = (s: Series) => s.name.startsWith('lag');
export const isBound = (s: Series) => s.name.startsWith('bound');
export const isRate = (s: Series) => s.name === 'in' || s.name === 'out' || (s.unit.endsWith('/s') && !isLag(s));
export const isAge = (s: Series) => !isLag(s) && !isRate(s) && !isBound(s) && (s.unit === 's' || s.unit === 'seconds');

// "lag of enriched" and "lag enriched" are both the lag of enriched.
export const nameOf = (s: Series) => s.name.replace(/^(?:lag|bound)( of)? /, '') || s.name;

export interface Drawn {
  times: number[];
  lines: Line[];
}

type Style = (s: Series, i: number) => { colour: string; dash?: number[] };

/** Series of the answer on one time axis; a time that only some have is a hole in the others. */
export function align(series: readonly Series[], style: Style, bounds: readonly Series[] = []): Drawn {
  const all = new Set<number>();
  for (const s of series) for (const p of list(s.points)) all.add(p.t);
  const times = [...all].sort((a, b) => a - b);
  const at = new Map(times.map((t, i) => [t, i]));
  const lines = series.map((s, i) => {
    const around = bounds.find((b) => nameOf(b) === nameOf(s));
    return {
      name: nameOf(s),
      values: placed(s, at),
      ...(around ? { bounds: placed(around, at) } : {}),
      ...style(s, i),
    };
  });
  return { times, lines };
}

function placed(s: Series, at: Map<number, number>): (number | null)[] {
  const values: (number | null)[] = new Array(at.size).fill(null);
  for (const p of list(s.points)) {
    const i = at.get(p.t);
    if (i !== undefined) values[i] = p.v ?? null;
  }
  return values;
}

/**
 * Begins all charts at the first known value when the values cover less than half of the range:
 * minutes of data in an hour would be squeezed into the last pixels. `since` is then that time.
 */
export function beginAtData<T extends Record<string, Drawn>>(charts: T): T & { since?: number } {
  const all = Object.values(charts);
  const times = all.flatMap((c) => (c.times.length > 0 ? [c.times[0] as number, c.times.at(-1) as number] : []));
  const firsts = all.flatMap((c) => c.times.filter((_t, i) => c.lines.some((l) => l.values[i] != null)).slice(0, 1));
  const [from, to, first] = [Math.min(...times), Math.max(...times), Math.min(...firsts)];
  if (firsts.length === 0 || first - from <= (to - from) / 2) return charts;
  const cut = ({ times, lines }: Drawn): Drawn => {
    const n = times.filter((t) => t < first).length;
    return {
      times: times.slice(n),
      lines: lines.map((l) => ({
        ...l,
        values: l.values.slice(n),
        ...(l.bounds ? { bounds: l.bounds.slice(n) } : {}),
      })),
    };
  };
  return { ...(Object.fromEntries(Object.entries(charts).map(([k, c]) => [k, cut(c)])) as T), since: first };
}

const DASH = [5, 4];

/**
 * Lays another day over a chart: the lines of `past`, moved by `shift` ms, dashed, at the times of the
 * chart. A time takes the nearest value of the past not further than a step away, else it is a hole.
 */
export function overlay(now: Drawn, past: Drawn, shift: number, word: string): Drawn {
  const step = now.times.length > 1 ? (now.times[1] as number) - (now.times[0] as number) : 60_000;
  const nearest = now.times.map((t) => {
    const i = closest(past.times, t - shift);
    return i >= 0 && Math.abs((past.times[i] as number) - (t - shift)) <= step ? i : -1;
  });
  const lines = past.lines.map((l) => ({
    name: `${l.name}, ${word}`,
    colour: l.colour,
    dash: DASH,
    values: nearest.map((i) => (i < 0 ? null : l.values[i])),
  }));
  return { times: now.times, lines: [...now.lines, ...lines] };
}

/** Index of the value nearest to t in a rising list; -1 when it is empty. */
function closest(times: readonly number[], t: number): number {
  let low = 0;
  let high = times.length - 1;
  if (high < 0) return -1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] as number) < t) low = middle + 1;
    else high = middle;
  }
  const before = low > 0 && t - (times[low - 1] as number) < (times[low] as number) - t;
  return before ? low - 1 : low;
}
