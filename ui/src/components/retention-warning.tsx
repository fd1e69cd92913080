import type { PipelineRow } from '../api/types';
import { duration } from '../lib/format';
import { Go } from './link';
import { Shape } from './state';

const MOST = 3;

/** Pipelines whose retention deletes unread data at the present rates, soonest first. */
export function soonest(rows: readonly PipelineRow[]): PipelineRow[] {
  return rows.filter((r) => r.loss_in != null).sort((a, b) => (a.loss_in as number) - (b.loss_in as number));
}

/** A loss that can still be prevented is worth a line above everything else. */
export function RetentionWarning({ rows }: { rows: readonly PipelineRow[] }) {
  const found = soonest(rows);
  if (found.length === 0) return null;
  return (
    <div className="card pad banner late in-text" role="status">
      <span className="mark warn">
        <Shape tone="late" /> Retention deletes unread data
      </span>{' '}
      {found.slice(0, MOST).map((r, i) => (
        <span key={r.id}>
          {i > 0 ? ', ' : ''}
          of <Go to={`/p/${encodeURIComponent(r.id)}`}>{r.id}</Go> in <b>{duration(r.loss_in)}</b>
        </span>
      ))}
      {found.length > MOST ? ` and of ${found.length - MOST} more` : ''}, at the present rates.
    </div>
  );
}
