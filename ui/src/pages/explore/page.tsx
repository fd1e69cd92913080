// A free question in PromQL.
import { lazy, Suspense, useEffect, useMemo, useState } from 'react';
import { seriesName } from '../../api/prometheus';
import { Chart, look } from '../../charts/chart';
import { useRows } from '../../components/rows';
import { Failure, Skeleton } from '../../components/screen';
import { Scroll } from '../../components/scroll';
import { Segmented } from '../../components/segmented';
import { useTitle } from '../../components/title';
import { plural, value } from '../../lib/format';
import { formatSpan, rangeLabel, zoneName } from '../../lib/time';
import { useRange, useView } from '../../state/use-view';
import './explore.css';
import type { Result } from './table-data';
import { useRangeQuery } from './use-query';

const Editor = lazy(() => import('./editor'));

const EXAMPLES = [
  ['Records received per second, by door', 'sum by (door) (rate(weir_collector_received_total[1m]))'],
  [
    'How far groups are behind',
    'weir_broker_end_offset - on(destination, partition) group_right weir_broker_committed_offset',
  ],
  ['Anything dropped', 'sum by (reason) (rate(weir_collector_dropped_total[5m])) > 0'],
  ['Targets that do not answer', 'up == 0'],
] as const;

const DRAWN = 50;

export function ExplorePage() {
  const [view, set] = useView();
  const [draft, setDraft] = useState(view.q);
  useTitle(view.q ? view.q.slice(0, 40) : 'Explore');
  useEffect(() => setDraft(view.q), [view.q]);
  const run = (q: string) => set({ q: q.trim() }, 'push');
  return (
    <>
      <div className="row base">
        <h1>Explore</h1>
        <span className="mut">PromQL over everything weir keeps</span>
      </div>
      <div className="card editor-card">
        <Suspense fallback={<div className="editor editor-wait mono mut">{view.q || 'Loading the editor'}</div>}>
          <Editor value={draft} onChange={setDraft} run={run} />
        </Suspense>
        <button type="button" className="btn p" onClick={() => run(draft)}>
          Run <span className="sr">the query</span>
        </button>
      </div>
      {view.q ? <Answer q={view.q} /> : <Examples run={run} />}
    </>
  );
}

function Examples({ run }: { run: (q: string) => void }) {
  return (
    <section className="card" aria-label="Examples">
      <div className="row card-head">
        <h2>To begin with</h2>
        <span className="mut">Enter runs, Ctrl Space completes names, labels and functions</span>
      </div>
      <ul className="lines">
        {EXAMPLES.map(([what, q]) => (
          <li key={q}>
            <button type="button" className="where" onClick={() => run(q)}>
              <b>{what}</b>
              <span className="mut mono">{q}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Answer({ q }: { q: string }) {
  const [view, set] = useView();
  const range = useRange(view, 'now-1h');
  const { answer, step } = useRangeQuery(q, range.key, range.now, view.live && range.relative);
  const tab = view.tab === 'table' ? 'table' : 'chart';
  if (answer.error) return <Failure error={answer.error} what="this query" retry={() => void answer.refetch()} />;
  if (!answer.data) return <Skeleton heights={[340, 200]} label="Running the query" />;
  const data = answer.data;
  return (
    <div className={answer.isPlaceholderData ? 'screen dimmed' : 'screen'}>
      <div className="row">
        <Segmented
          label="View"
          value={tab}
          onChange={(t) => set({ tab: t === 'chart' ? '' : t })}
          choices={[
            { value: 'chart', label: 'Chart' },
            { value: 'table', label: 'Table' },
          ]}
        />
        <span className="mut" role="status">
          {plural(data.series.length, 'series', 'series')}, a point every {formatSpan(step * 1000)},{' '}
          {rangeLabel(range.from, range.to, view.tz).toLowerCase()}, {zoneName(view.tz, range.now().to)}
        </span>
      </div>
      {data.warnings.map((w) => (
        <div className="card pad partial" role="status" key={w}>
          {w}
        </div>
      ))}
      {data.series.length === 0 ? (
        <div className="card state-box" role="status">
          <b>No series matches in this range.</b>
          <p className="mut">
            The expression is right, but nothing has these names and labels then. Ctrl Space in the editor shows what
            there is.
          </p>
        </div>
      ) : tab === 'chart' ? (
        <Drawn
          data={data}
          zone={view.tz}
          title={q}
          zoom={(from, to) => set({ from: String(from), to: String(to), live: false }, 'push')}
        />
      ) : (
        <Listed data={data} />
      )}
    </div>
  );
}

function Drawn({
  data,
  zone,
  title,
  zoom,
}: {
  data: Result;
  zone: string;
  title: string;
  zoom: (from: number, to: number) => void;
}) {
  const lines = useMemo(
    () => data.series.slice(0, DRAWN).map((s, i) => ({ name: seriesName(s.metric), values: s.values, ...look(i) })),
    [data],
  );
  return (
    <>
      <Chart
        title={title}
        times={data.times}
        lines={lines}
        format={value}
        zone={zone}
        height={340}
        onRange={zoom}
        legend={lines.length <= 12}
      />
      {data.series.length > DRAWN ? (
        <p className="mut">
          The first {DRAWN} of {plural(data.series.length, 'series', 'series')} are drawn; the table has all. Aggregate
          with sum by (…) or take topk(10, …).
        </p>
      ) : null}
    </>
  );
}

const LISTED = 1000;

function Listed({ data }: { data: Result }) {
  const rows = data.series.slice(0, LISTED);
  const [cursor] = useRows(rows.length, () => undefined);
  const names = useMemo(
    () =>
      [...new Set(rows.flatMap((s) => Object.keys(s.metric)))].sort((a, b) =>
        a === '__name__' ? -1 : b === '__name__' ? 1 : a.localeCompare(b),
      ),
    [rows],
  );
  const last = (values: readonly (number | null)[]) => {
    for (let i = values.length - 1; i >= 0; i--) if (values[i] != null) return values[i];
    return null;
  };
  return (
    <Scroll label="Newest values" className="card">
      <table className="dense" aria-label="Newest value of each series">
        <thead>
          <tr>
            {names.map((n) => (
              <th scope="col" className="l" key={n}>
                {n === '__name__' ? 'Metric' : n}
              </th>
            ))}
            <th scope="col">Newest value</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((s, i) => (
            <tr key={seriesName(s.metric)} data-row={i} className={i === cursor ? 'sel' : undefined}>
              {names.map((n) => (
                <td className="l mono" key={n}>
                  {s.metric[n] ?? ''}
                </td>
              ))}
              <td>
                <b>{value(last(s.values))}</b>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
