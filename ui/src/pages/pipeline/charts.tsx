// Lag, throughput and freshness as charts, with what changed and, if asked for, another day.
import { useMemo } from 'react';
import type { Pipeline, Series } from '../../api/types';
import { Chart, look } from '../../charts/chart';
import type { Mark } from '../../charts/marks';
import { bound, duration, rate } from '../../lib/format';
import { when } from '../../lib/time';
import { align, beginAtData, type Drawn, isAge, isBound, isLag, isRate, nameOf, overlay } from './series';

export interface Past {
  series: readonly Series[];
  /** ms that lie between. */
  shift: number;
  word: string;
}

interface Props {
  series: readonly Series[];
  data: Pipeline;
  past?: Past;
  marks: readonly Mark[];
  zone: string;
  zoom: (from: number, to: number) => void;
}

/** The three charts of a set of series. */
function parts(series: readonly Series[], slowest: string, late: boolean): Record<'lags' | 'rates' | 'fresh', Drawn> {
  return {
    lags: align(
      series.filter(isLag),
      (s, i) => (late && nameOf(s) === slowest ? { colour: '--late' } : look(i)),
      series.filter(isBound),
    ),
    rates: align(series.filter(isRate), (_s, i) => look(i)),
    fresh: align(series.filter(isAge), (_s, i) => look(i)),
  };
}

export function Charts({ series, data, past, marks, zone, zoom }: Props) {
  const { slowest, state } = data;
  const drawn = useMemo(() => {
    const now = beginAtData(parts(series, slowest, state === 'LATE'));
    if (!past) return now;
    const before = parts(past.series, slowest, state === 'LATE');
    const both = (k: 'lags' | 'rates' | 'fresh') => overlay(now[k], before[k], past.shift, past.word);
    return { lags: both('lags'), rates: both('rates'), fresh: both('fresh'), since: now.since };
  }, [series, slowest, state, past]);
  const since = drawn.since ? `data since ${when(drawn.since, zone, Date.now())}` : '';
  const said = (...notes: string[]) => notes.filter(Boolean).join(', ');
  const common = { zone, marks, onRange: zoom };
  return (
    <div className="charts">
      {drawn.lags.lines.length > 0 ? (
        <Chart
          title="Lag by reader"
          sub={said('worst partition', bound(data.lag?.bound), since)}
          {...drawn.lags}
          format={duration}
          seconds
          {...common}
        />
      ) : (
        <NoLag />
      )}
      <Chart
        title="Throughput"
        sub={said('records per second', since)}
        {...drawn.rates}
        format={rate}
        legend
        {...common}
      />
      {drawn.fresh.lines.length > 0 ? (
        <Chart
          title="Age of the data at the sink"
          sub={since}
          {...drawn.fresh}
          format={duration}
          seconds
          height={150}
          {...common}
        />
      ) : null}
    </div>
  );
}

function NoLag() {
  return (
    <section className="card pad chart" aria-label="Lag">
      <h2>Lag</h2>
      <p className="mut">
        Not known: no broker that weir polls carries this pipeline. Name the broker in the collector's configuration and
        its offsets give the lag of each group.
      </p>
    </section>
  );
}
