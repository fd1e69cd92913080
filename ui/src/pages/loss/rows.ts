// Choosing rows of the ledger, and the incident that belongs to one.
import type { Incident, LossRow } from '../../api/types';
import { toneOf } from '../../components/state';

export const isUnknown = (verdict: string) => verdict === '' || verdict.startsWith('UNKNOWN');

export function filterRows(rows: readonly LossRow[], state: string, text: string): readonly LossRow[] {
  const f = text.trim().toLowerCase();
  const shows = (r: LossRow) =>
    state === 'loss' ? toneOf(r.verdict) === 'lose' : state === 'unknown' ? isUnknown(r.verdict) : true;
  return rows.filter((r) => shows(r) && (!f || `${r.pipeline} ${r.where} ${r.class}`.toLowerCase().includes(f)));
}

/** The newest incident of an edge or stage; one that goes on before all. */
export function incidentOf(row: LossRow, incidents: readonly Incident[]): Incident | undefined {
  const mine = incidents.filter((i) => i.row.id === row.id);
  return mine.find((i) => i.still) ?? mine[0];
}
