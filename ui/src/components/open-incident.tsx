// The way from a pipeline or a stage that loses to the proof of it.
import type { LossRow } from '../api/types';
import { Go } from './link';

/** The row whose incident to open: one that still loses, the largest first; undefined = none has an incident. */
export function worstIncident(rows: readonly LossRow[]): LossRow | undefined {
  return [...rows]
    .filter((r) => r.incident)
    .sort((a, b) => Number(b.still) - Number(a.still) || b.lost - a.lost || b.bound - a.bound)[0];
}

export function OpenIncident({ rows, className }: { rows: readonly LossRow[]; className?: string }) {
  const worst = worstIncident(rows);
  if (!worst) return null;
  return (
    <Go to={`/loss/${encodeURIComponent(worst.incident)}`} className={className}>
      Open the incident
    </Go>
  );
}
