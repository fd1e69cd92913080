// Choosing and ordering the rows of the pipelines table.
import type { PipelineRow } from '../../api/types';
import type { SortKey } from '../../components/pipelines-table';
import type { Choice } from '../../components/segmented';
import { count } from '../../lib/format';

export const STATES = [
  { state: 'LOSING', word: 'Losing', says: 'losing data', always: true },
  { state: 'LATE', word: 'Late', says: 'late', always: true },
  { state: 'UNKNOWN', word: 'Unknown', says: 'unknown', always: true },
  { state: 'DRAINING', word: 'Draining', says: 'draining', always: false },
  { state: 'OK', word: 'OK', says: 'ok', always: false },
  { state: 'IDLE', word: 'Idle', says: 'idle', always: false },
] as const;

/** `2 losing data, 1 late, 1 unknown, 42 ok` */
export function countsSentence(counts: Record<string, number>): string {
  return STATES.filter((s) => (counts[s.state] ?? 0) > 0)
    .map((s) => `${count(counts[s.state])} ${s.says}`)
    .join(', ');
}

/** Toggles by state: all, then each that matters or that is there. */
export function stateChoices(counts: Record<string, number>, all: number): Choice[] {
  return [
    { value: '', label: `All ${count(all)}` },
    ...STATES.filter((s) => s.always || (counts[s.state] ?? 0) > 0).map((s) => ({
      value: s.state,
      label: `${s.word} ${count(counts[s.state] ?? 0)}`,
    })),
  ];
}

export function filterRows(rows: readonly PipelineRow[], state: string, text: string): readonly PipelineRow[] {
  const t = text.trim().toLowerCase();
  if (!state && !t) return rows;
  return rows.filter(
    (r) =>
      (!state || r.state === state) && (!t || r.id.toLowerCase().includes(t) || r.slowest.toLowerCase().includes(t)),
  );
}

const by: Record<Exclude<SortKey, '' | 'name'>, (r: PipelineRow) => number | null | undefined> = {
  freshness: (r) => r.freshness,
  lag: (r) => r.lag?.seconds,
  drain: (r) => (r.lag?.drain_never ? Number.POSITIVE_INFINITY : (r.lag?.drain ?? -1)),
  messages: (r) => r.lag?.messages,
  // The soonest is the worst; most have none, and they are not unknown.
  lossin: (r) => (r.loss_in == null ? Number.NEGATIVE_INFINITY : -r.loss_in),
  in: (r) => r.in,
  out: (r) => r.out,
  lost: (r) => r.lost_24h,
};

/** Worst first is the server's order; other columns put the largest first and the unknown before all. */
export function sortRows(rows: readonly PipelineRow[], key: SortKey): readonly PipelineRow[] {
  if (!key) return rows;
  if (key === 'name') return [...rows].sort((a, b) => a.id.localeCompare(b.id));
  const value = by[key];
  if (!value) return rows;
  const of = (r: PipelineRow) => value(r) ?? Number.POSITIVE_INFINITY;
  return [...rows].sort((a, b) => (of(a) === of(b) ? 0 : of(b) - of(a)));
}

/** Up to three names that share the longest beginning with what was typed. */
export function nearest(rows: readonly PipelineRow[], text: string): string[] {
  const t = text.trim().toLowerCase();
  if (!t) return [];
  const shared = (id: string) => {
    let n = 0;
    while (n < t.length && id[n] === t[n]) n++;
    return n;
  };
  return rows
    .map((r) => ({ id: r.id, n: shared(r.id.toLowerCase()) }))
    .filter((r) => r.n > 0)
    .sort((a, b) => b.n - a.n)
    .slice(0, 3)
    .map((r) => r.id);
}
