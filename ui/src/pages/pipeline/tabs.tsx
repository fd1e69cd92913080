// The tabs whose content lives on another page: a short form, and the way there.
import type { ReactNode } from 'react';
import type { Alert, LossRow } from '../../api/types';
import { LossTable } from '../../components/loss-table';
import { State } from '../../components/state';
import { duration } from '../../lib/format';
import { when } from '../../lib/time';
import { told } from '../../lib/told';
import { useGo, useView } from '../../state/use-view';

/** A tab without content: it stays where it is, and says what it would show. */
export function NothingHere({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="card state-box" role="status">
      <b>{title}</b>
      <p className="mut">{children}</p>
    </div>
  );
}

export function LossTab({ rows, from, to }: { rows: readonly LossRow[]; from: number; to: number }) {
  const [view] = useView();
  const go = useGo();
  if (rows.length === 0)
    return (
      <NothingHere title="Nothing of this pipeline was balanced in the last 24 hours.">
        Each stage and each way between two stages stands here once both its sides are counted: what was lost, since
        when, and whether it goes on.
      </NothingHere>
    );
  return (
    <div className="card">
      <LossTable
        rows={rows}
        from={from}
        to={to}
        zone={view.tz}
        cursor={-1}
        span="last 24 hours"
        short
        open={(r) => go('/loss', { sel: r.id })}
      />
    </div>
  );
}

export function AlertsTab({ rows }: { rows: readonly Alert[] }) {
  const [view] = useView();
  const now = Date.now();
  if (rows.length === 0)
    return (
      <NothingHere title="No alert of this pipeline.">
        Alerts that fire, are about to, or have just ended stand here with the time since when and who was told.
      </NothingHere>
    );
  return (
    <ul className="card lines">
      {rows.map((a) => (
        <li key={a.id}>
          <State state={a.state === 'firing' ? a.severity.toUpperCase() : a.state.toUpperCase()} />
          <span className="line-text">
            {told(a.summary, view.tz, Date.now())}
            <span className="mut">
              since {when(a.since, view.tz, now)}, {duration(((a.ended_at || now) - a.since) / 1000)}
              {a.notified ? ` · ${a.notified}` : ''}
            </span>
          </span>
        </li>
      ))}
    </ul>
  );
}
