// Results on one time axis, whether they came by HTTP or over the live line.
import type { Frame } from '../../api/frames';
import { type QueryAnswer, sample } from '../../api/prometheus';

export interface Result {
  /** Unix ms, rising. */
  times: number[];
  series: { metric: Record<string, string>; values: (number | null)[] }[];
  warnings: string[];
}

/** A matrix as columns; a time one series lacks is a hole in it. */
export function fromAnswer(a: QueryAnswer): Result {
  const all = new Set<number>();
  for (const s of a.result) for (const [t] of s.values ?? (s.value ? [s.value] : [])) all.add(Math.round(t * 1000));
  const times = [...all].sort((x, y) => x - y);
  const at = new Map(times.map((t, i) => [t, i]));
  const series = a.result.map((s) => {
    const values: (number | null)[] = new Array(times.length).fill(null);
    for (const [t, v] of s.values ?? (s.value ? [s.value] : []))
      values[at.get(Math.round(t * 1000)) as number] = sample(v);
    return { metric: s.metric, values };
  });
  return { times, series, warnings: a.warnings };
}

/** The points of a live query, kept for the length of its window. */
export class LiveSeries {
  private labels: Record<string, string>[] = [];
  private readonly columns = new Map<number, Map<number, number>>();

  constructor(private readonly windowMs: number) {}

  apply(frame: Frame): Result {
    if (frame.kind === 'snapshot') {
      this.labels = frame.series ?? [];
      this.columns.clear();
    }
    for (let i = 0; i < frame.index.length; i++) {
      const t = frame.times[i] as number;
      let column = this.columns.get(t);
      if (!column) {
        column = new Map();
        this.columns.set(t, column);
      }
      column.set(frame.index[i] as number, frame.values[i] as number);
    }
    const newest = Math.max(...this.columns.keys());
    for (const t of this.columns.keys()) if (t < newest - this.windowMs) this.columns.delete(t);
    return this.result();
  }

  private result(): Result {
    const times = [...this.columns.keys()].sort((a, b) => a - b);
    const series = this.labels.map((metric, i) => ({
      metric,
      values: times.map((t) => this.columns.get(t)?.get(i) ?? null),
    }));
    return { times, series, warnings: [] };
  }
}
