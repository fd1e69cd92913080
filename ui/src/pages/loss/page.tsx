// What was lost, where, since when? The ledger, and for one row the balance and why we say so.
import { useLoss } from '../../api/hooks';
import { type Loss, type LossRow, list } from '../../api/types';
import { useKeys } from '../../components/keys';
import { LossTable } from '../../components/loss-table';
import { useRows } from '../../components/rows';
import { NothingMatches, NothingYet, Partial, Screen } from '../../components/screen';
import { Segmented } from '../../components/segmented';
import { toneOf } from '../../components/state';
import { useTitle } from '../../components/title';
import { count, plural } from '../../lib/format';
import { rangeLabel } from '../../lib/time';
import { useRange, useView } from '../../state/use-view';
import { Detail } from './detail';

const SNIPPET = `# a stage counts what it takes and what it hands on, per minute of event time
weir.audit.in:5000|c|#p:orders,st:enrich,dst:orders,g:enrich,ew:1764100800
weir.audit.out:4990|c|#p:orders,st:enrich,dst:enriched,ew:1764100800
weir.audit.filtered:10|c|#p:orders,st:enrich,ew:1764100800`;

const RANGES = [
  { value: 'now-1h', label: '1 h' },
  { value: 'now-24h', label: '24 h' },
  { value: 'now-7d', label: '7 d' },
];

export function LossPage() {
  const [view] = useView();
  const range = useRange(view, 'now-24h');
  const isDefault = range.from === 'now-24h' && range.to === 'now';
  const answer = useLoss(range.key, range.now, '', view.live && range.relative, isDefault);
  useTitle('Loss');
  return (
    <Screen answer={answer} what="the loss ledger" bones={[30, 300, 320]}>
      {(data) => <Content data={data} />}
    </Screen>
  );
}

const isUnknown = (verdict: string) => verdict === '' || verdict.startsWith('UNKNOWN');

const shows = (row: LossRow, state: string) => {
  if (state === 'loss') return toneOf(row.verdict) === 'lose';
  if (state === 'unknown') return isUnknown(row.verdict);
  return true;
};

function Content({ data }: { data: Loss }) {
  const [view, set] = useView();
  const range = useRange(view, 'now-24h');
  const all = list(data.rows);
  const f = view.f.trim().toLowerCase();
  const rows = all.filter(
    (r) => shows(r, view.state) && (!f || `${r.pipeline} ${r.where} ${r.class}`.toLowerCase().includes(f)),
  );
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
  const label = rangeLabel(range.from, range.to, view.tz);
  const losing = all.filter((r) => toneOf(r.verdict) === 'lose').length;
  const unknown = all.filter((r) => isUnknown(r.verdict)).length;
  return (
    <>
      <div className="row base">
        <h1>Loss</h1>
        <span className="mut">
          in = out + filtered + dead-lettered + in flight + <b>lost</b>, per window of event time
        </span>
        <span className="grow" />
        <Segmented
          label="Verdict"
          value={view.state}
          onChange={(state) => set({ state })}
          choices={[
            { value: '', label: `All ${all.length}` },
            { value: 'loss', label: `Loss ${losing}` },
            { value: 'unknown', label: `Unknown ${unknown}` },
          ]}
        />
        <Segmented
          label="Range"
          value={range.to === 'now' ? range.from : ''}
          onChange={(from) =>
            set({ from: from === 'now-24h' ? '' : from, to: from === 'now-24h' ? '' : 'now' }, 'push')
          }
          choices={RANGES}
        />
      </div>
      <Partial completeness={data.completeness} />
      {all.length === 0 ? (
        <NothingYet title="Nothing is counted yet in this range" snippet={SNIPPET}>
          Loss is found where both sides of an edge are counted. Brokers are watched by themselves; stages count with
          one line each:
        </NothingYet>
      ) : (
        <>
          <div className="card">
            {rows.length > 0 ? (
              <LossTable
                rows={rows}
                from={data.from}
                to={data.to}
                zone={view.tz}
                cursor={chosen}
                span={label.toLowerCase()}
                open={(r) => {
                  choose(r);
                  setCursor(rows.indexOf(r));
                }}
              />
            ) : (
              <NothingMatches what={view.state || view.f} clear={() => set({ f: '', state: '' })} />
            )}
          </div>
          {rows[chosen] ? <Detail key={(rows[chosen] as LossRow).id} row={rows[chosen] as LossRow} /> : null}
          <p className="mut">
            {plural(all.length, 'edge or stage', 'edges and stages')} watched,{' '}
            {count(all.reduce((n, r) => n + r.lost, 0))} records lost in this range.
          </p>
        </>
      )}
    </>
  );
}
