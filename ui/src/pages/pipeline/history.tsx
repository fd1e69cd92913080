// Lag and throughput over time, and when the backlog is gone.
import { useMemo } from 'react';
import { useHistory } from '../../api/hooks';
import { list, type Pipeline, type Series } from '../../api/types';
import { Chart, type Line, look } from '../../charts/chart';
import { Screen } from '../../components/screen';
import { bound, count, duration, rate } from '../../lib/format';
import { clock } from '../../lib/time';
import { useRange, useView } from '../../state/use-view';

export function History({ data, id }: { data: Pipeline; id: string }) {
  const [view, set] = useView();
  const range = useRange(view, 'now-1h');
  const answer = useHistory(id, range.key, range.now, view.live && range.relative);
  const changes = list(data.changes);
  const marks = useMemo(
    () => changes.map((c) => ({ at: c.at, text: `${clock(c.at, view.tz)} ${c.text}` })),
    [changes, view.tz],
  );
  const zoom = (from: number, to: number) => set({ from: String(from), to: String(to), live: false }, 'push');
  return (
    <Screen answer={answer} what="history" bones={[260]}>
      {(h) => (
        <>
          <Charts series={list(h.series)} data={data} marks={marks} zone={view.tz} zoom={zoom} />
          <Forecast data={data} />
        </>
      )}
    </Screen>
  );
}

type Zoom = (from: number, to: number) => void;
type Marks = { at: number; text: string }[];

const isLag = (s: Series) => s.name.startsWith('lag');
const isBound = (s: Series) => s.name.startsWith('bound');
const isRate = (s: Series) => s.name === 'in' || s.name === 'out' || (s.unit.endsWith('/s') && !isLag(s));

function Charts({
  series,
  data,
  marks,
  zone,
  zoom,
}: {
  series: readonly Series[];
  data: Pipeline;
  marks: Marks;
  zone: string;
  zoom: Zoom;
}) {
  const { slowest, state } = data;
  const parts = useMemo(() => {
    const late = state === 'LATE';
    const lags = align(
      series.filter(isLag),
      (s, i) => (late && nameOf(s) === slowest ? { colour: '--late' } : look(i)),
      series.filter(isBound),
    );
    const rates = align(series.filter(isRate), (_s, i) => look(i));
    const rest = series.filter(
      (s) => !isLag(s) && !isRate(s) && !isBound(s) && (s.unit === 's' || s.unit === 'seconds'),
    );
    return beginAtData({ lags, rates, fresh: align(rest, (_s, i) => look(i)) });
  }, [series, state, slowest]);
  const error = bound(data.lag?.bound);
  const since = parts.since ? `data since ${clock(parts.since, zone)}` : '';
  const said = (...notes: (string | undefined)[]) => notes.filter(Boolean).join(', ');
  const common = { zone, marks, onRange: zoom };
  return (
    <div className="charts">
      {parts.lags.lines.length > 0 ? (
        <Chart
          title={slowest ? `Lag of ${slowest}` : 'Lag'}
          sub={said('worst partition', error, since)}
          {...parts.lags}
          format={duration}
          seconds
          {...common}
        />
      ) : (
        <section className="card pad chart" aria-label="Lag">
          <h2>Lag</h2>
          <p className="mut">
            Not known: no broker that weir polls carries this pipeline. Name the broker in the collector's configuration
            and its offsets give the lag of each group.
          </p>
        </section>
      )}
      <Chart
        title="Throughput"
        sub={said('records per second', since)}
        {...parts.rates}
        format={rate}
        legend
        {...common}
      />
      {parts.fresh.lines.length > 0 ? (
        <Chart
          title="Age of the data at the sink"
          sub={since}
          {...parts.fresh}
          format={duration}
          seconds
          height={150}
          {...common}
        />
      ) : null}
    </div>
  );
}

// "lag of enriched" and "lag enriched" are both the lag of enriched.
const nameOf = (s: Series) => s.name.replace(/^(?:lag|bound)( of)? /, '') || s.name;

/** Series of the answer on one time axis; a time that only some have is a hole in the others. */
export function align(
  series: readonly Series[],
  style: (s: Series, i: number) => { colour: string; dash?: number[] },
  bounds: readonly Series[] = [],
): { times: number[]; lines: Line[] } {
  const all = new Set<number>();
  for (const s of series) for (const p of list(s.points)) all.add(p.t);
  const times = [...all].sort((a, b) => a - b);
  const at = new Map(times.map((t, i) => [t, i]));
  const lines = series.map((s, i) => {
    const around = bounds.find((b) => nameOf(b) === nameOf(s));
    return {
      name: nameOf(s),
      values: placed(s, at),
      ...(around ? { bounds: placed(around, at) } : {}),
      ...style(s, i),
    };
  });
  return { times, lines };
}

function placed(s: Series, at: Map<number, number>): (number | null)[] {
  const values: (number | null)[] = new Array(at.size).fill(null);
  for (const p of list(s.points)) {
    const i = at.get(p.t);
    if (i !== undefined) values[i] = p.v ?? null;
  }
  return values;
}

type Drawn = { times: number[]; lines: Line[] };

/**
 * Begins all charts at the first known value when the values cover less than half of the range:
 * minutes of data in an hour would be squeezed into the last pixels. `since` is then that time.
 */
export function beginAtData<T extends Record<string, Drawn>>(charts: T): T & { since?: number } {
  const all = Object.values(charts);
  const times = all.flatMap((c) => (c.times.length > 0 ? [c.times[0] as number, c.times.at(-1) as number] : []));
  const firsts = all.flatMap((c) => c.times.filter((_t, i) => c.lines.some((l) => l.values[i] != null)).slice(0, 1));
  const [from, to, first] = [Math.min(...times), Math.max(...times), Math.min(...firsts)];
  if (firsts.length === 0 || first - from <= (to - from) / 2) return charts;
  const cut = ({ times, lines }: Drawn): Drawn => {
    const n = times.filter((t) => t < first).length;
    return {
      times: times.slice(n),
      lines: lines.map((l) => ({
        ...l,
        values: l.values.slice(n),
        ...(l.bounds ? { bounds: l.bounds.slice(n) } : {}),
      })),
    };
  };
  return { ...(Object.fromEntries(Object.entries(charts).map(([k, c]) => [k, cut(c)])) as T), since: first };
}

function Forecast({ data }: { data: Pipeline }) {
  const { lag } = data;
  const grows = data.in != null && data.out != null ? data.in - data.out : undefined;
  return (
    <div className="forecast">
      <div className="card pad drain">
        <b>Drains</b> <DrainText data={data} />
      </div>
      <div className="card pad">
        <b>Backlog</b>{' '}
        {lag?.messages == null ? (
          <span className="mut">not known</span>
        ) : (
          <>
            {count(lag.messages)} records <span className="mut">{lag.trend === 'unknown' ? '' : lag.trend}</span>
          </>
        )}
      </div>
      <div className="card pad">
        <b>Balance</b>{' '}
        {grows === undefined ? (
          <span className="mut">one of the rates is not known</span>
        ) : (
          <>
            {rate(data.in)}/s in, {rate(data.out)}/s out <span className="mut">over the last minutes</span>
          </>
        )}
      </div>
    </div>
  );
}

function DrainText({ data: { lag, state } }: { data: Pipeline }) {
  if (lag?.drain_never) return <span className="warn">never at this rate</span>;
  if (lag?.drain != null)
    return (
      <>
        in <b>{duration(lag.drain)}</b> <span className="mut">at the present rates</span>
      </>
    );
  if (state === 'UNKNOWN' || lag?.seconds == null) return <span className="mut">not known</span>;
  return <span className="mut">nothing to drain</span>;
}
