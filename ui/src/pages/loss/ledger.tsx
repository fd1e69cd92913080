// The ledger: edges and stages with what was found in the range; the chosen one opens below.
import { type Incident, type Loss, type LossRow, list } from '../../api/types';
import { incidentPath } from '../../components/incident-list';
import { useKeys } from '../../components/keys';
import { LossTable } from '../../components/loss-table';
import { useRows } from '../../components/rows';
import { NothingMatches } from '../../components/screen';
import { count, plural } from '../../lib/format';
import { rangeLabel } from '../../lib/time';
import { useGo, useRange, useView } from '../../state/use-view';
import { Detail } from './detail';
import { incidentOf } from './rows';

export function Ledger({ data, runs }: { data: Loss; runs: readonly Incident[] }) {
  const [view, set] = useView();
  const go = useGo();
  const range = useRange(view, 'now-24h');
  const rows = list(data.rows);
  const chosen = Math.max(
    0,
    rows.findIndex((r) => r.id === view.sel),
  );
  const choose = (row: LossRow | undefined) => row && set({ sel: row.id, w: '' });
  const row = rows[chosen];
  const incident = row ? incidentOf(row, runs)?.id || row.incident : '';
  // Here the cursor and the choice are one: moving shows the next row's balance at once, so Enter goes further.
  const [cursor] = useRows(
    rows.length,
    () => row && go(incident ? incidentPath(incident) : `/p/${encodeURIComponent(row.pipeline)}`),
    { at: chosen, onMove: (i) => choose(rows[i]) },
  );
  useKeys({ Escape: () => (view.f || view.state ? set({ f: '', state: '' }) : false) });
  return (
    <>
      <div className="card">
        {rows.length > 0 ? (
          <LossTable
            rows={rows}
            from={data.from}
            to={data.to}
            zone={view.tz}
            cursor={cursor}
            span={rangeLabel(range.from, range.to, view.tz).toLowerCase()}
            open={choose}
          />
        ) : (
          <NothingMatches
            what={[view.state, view.f && `“${view.f}”`].filter(Boolean).join(' and ')}
            clear={() => set({ f: '', state: '' })}
          />
        )}
      </div>
      {data.left > 0 ? (
        <p className="mut">
          The {count(rows.length)} worst are shown; search to see others of the {count(data.left)} left out.
        </p>
      ) : null}
      {row ? <Detail key={row.id} row={row} incident={incident} /> : null}
      <p className="mut">
        {plural(data.watched, 'edge or stage', 'edges and stages')} watched, {count(data.lost)} records lost in this
        range.
      </p>
    </>
  );
}
