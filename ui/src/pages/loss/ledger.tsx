// The ledger: edges and stages with what was found in the range; the chosen one opens below.
import { type Incident, type Loss, type LossRow, list } from '../../api/types';
import { useKeys } from '../../components/keys';
import { LossTable } from '../../components/loss-table';
import { useRows } from '../../components/rows';
import { NothingMatches } from '../../components/screen';
import { count, plural } from '../../lib/format';
import { rangeLabel } from '../../lib/time';
import { useRange, useView } from '../../state/use-view';
import { Detail } from './detail';
import { incidentOf } from './rows';

export function Ledger({ data, runs }: { data: Loss; runs: readonly Incident[] }) {
  const [view, set] = useView();
  const range = useRange(view, 'now-24h');
  const rows = list(data.rows);
  const chosen = Math.max(
    0,
    rows.findIndex((r) => r.id === view.sel),
  );
  const choose = (row: LossRow | undefined) => row && set({ sel: row.id, w: '' });
  const [, setCursor] = useRows(rows.length, (i) => choose(rows[i]), chosen);
  useKeys({
    // Here the cursor and the choice are one: moving shows the next row's balance at once.
    j: () => choose(rows[Math.min(rows.length - 1, chosen + 1)]),
    k: () => choose(rows[Math.max(0, chosen - 1)]),
    Escape: () => (view.f || view.state ? set({ f: '', state: '' }) : false),
  });
  const row = rows[chosen];
  return (
    <>
      <div className="card">
        {rows.length > 0 ? (
          <LossTable
            rows={rows}
            from={data.from}
            to={data.to}
            zone={view.tz}
            cursor={chosen}
            span={rangeLabel(range.from, range.to, view.tz).toLowerCase()}
            open={(r) => {
              choose(r);
              setCursor(rows.indexOf(r));
            }}
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
      {row ? <Detail key={row.id} row={row} incident={incidentOf(row, runs)?.id || row.incident} /> : null}
      <p className="mut">
        {plural(data.watched, 'edge or stage', 'edges and stages')} watched, {count(data.lost)} records lost in this
        range.
      </p>
    </>
  );
}
