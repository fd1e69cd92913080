// The incident that belongs to a row of the ledger.
import type { Incident, LossRow } from '../../api/types';

/** The newest incident of an edge or stage; one that goes on before all. */
export function incidentOf(row: LossRow, incidents: readonly Incident[]): Incident | undefined {
  const mine = incidents.filter((i) => i.row.id === row.id);
  return mine.find((i) => i.still) ?? mine[0];
}
