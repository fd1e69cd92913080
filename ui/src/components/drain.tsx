// What happens next, in a cell: when the backlog is gone, and when retention deletes what nobody read.
import type { Lag } from '../api/types';
import { DASH, duration } from '../lib/format';
import { Shape } from './state';

export function DrainCell({ lag }: { lag: Lag | null | undefined }) {
  if (lag?.drain_never) return <span className="warn">never</span>;
  return <>{lag?.drain == null ? DASH : duration(lag.drain)}</>;
}

/** A warning, because a record that is deleted unread is lost. */
export function LossInCell({ seconds }: { seconds: number | null | undefined }) {
  if (seconds == null) return <>{DASH}</>;
  return (
    <span className="warn mark" title={`Retention deletes unread data in ${duration(seconds)}`}>
      <Shape tone="late" size={10} />
      <span className="sr">retention deletes unread data in</span>
      {duration(seconds)}
    </span>
  );
}
