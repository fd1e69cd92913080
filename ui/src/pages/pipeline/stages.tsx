// The balance of each stage over the settled windows of the last hour, how busy it is, how long it takes.
import { list, type PathLatency, type StageRow } from '../../api/types';
import { Latency } from '../../components/latency';
import { Go } from '../../components/link';
import { Meter } from '../../components/meter';
import { useRows } from '../../components/rows';
import { Scroll } from '../../components/scroll';
import { State } from '../../components/state';
import { bytes, count, DASH, duration, rate, spanDuration } from '../../lib/format';
import { useGo } from '../../state/use-view';

const COLUMNS = [
  'In',
  'Out',
  'Out / in, volume',
  'Filtered',
  'Dead letters',
  'Dropped',
  'Lost',
  'Watermark',
  'p50',
  'p99',
];

const pathOf = (pipeline: string, stage: string) =>
  `/p/${encodeURIComponent(pipeline)}/stage/${encodeURIComponent(stage)}`;

export function Stages({
  rows,
  latency,
  id,
}: {
  rows: readonly StageRow[];
  latency: readonly PathLatency[];
  id: string;
}) {
  const go = useGo();
  const [cursor] = useRows(rows.length, (i) => rows[i] && go(pathOf(id, rows[i].stage)));
  return (
    <>
      <section className="card" aria-label="Stages">
        <div className="row card-head base">
          <h2>Stages</h2>
          <span className="mut">Settled windows of the last hour</span>
        </div>
        <Scroll label="Stages">
          <table aria-label="Stages, settled windows of the last hour" className="wide">
            <thead>
              <tr>
                <th scope="col" className="l">
                  State
                </th>
                <th scope="col" className="l">
                  Stage
                </th>
                <th scope="col" className="l">
                  Busy
                </th>
                {COLUMNS.map((c) => (
                  <th scope="col" key={c}>
                    {c}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((s, i) => (
                <Row key={s.stage} s={s} id={id} index={i} on={i === cursor} open={() => go(pathOf(id, s.stage))} />
              ))}
            </tbody>
          </table>
        </Scroll>
      </section>
      <Latency rows={latency} />
    </>
  );
}

function Row({ s, id, index, on, open }: { s: StageRow; id: string; index: number; on: boolean; open: () => void }) {
  const names = list(s.instances);
  return (
    <tr
      className={on ? 'go tall sel' : 'go tall'}
      data-row={index}
      aria-selected={on}
      onClick={(e) => {
        if (!(e.target as HTMLElement).closest('a')) open();
      }}
    >
      <td className="l">
        <State state={s.state} />
      </td>
      <td className="l" title={names.join(', ')}>
        <Go to={pathOf(id, s.stage)} className="name">
          {s.stage}
        </Go>
        <div className="mut">
          {names.length === 1 ? '1 instance' : `${count(names.length)} instances`}
          {s.version ? `, ${s.version}` : ''}
        </div>
      </td>
      <td className="l">
        <Meter share={s.busy} label="share of the time it works" />
        {s.pressure != null && s.pressure >= 0.1 ? (
          <div className="mut">
            output blocked <span className="warn">{Math.round(s.pressure * 100)} %</span>
          </div>
        ) : null}
      </td>
      <td>
        {s.in === 0 && s.rate_in == null ? DASH : count(s.in)}
        <div className="mut">{s.rate_in == null ? '' : `${rate(s.rate_in)}/s`}</div>
      </td>
      <td>
        {s.out === 0 && (s.rate_out ?? 0) > 0 ? DASH : count(s.out)}
        <div className="mut">{s.rate_out == null ? '' : `${rate(s.rate_out)}/s`}</div>
      </td>
      <td>
        {s.amplify == null ? DASH : `× ${s.amplify.toFixed(2)}`}
        <div className="mut">{s.bytes > 0 ? bytes(s.bytes) : ''}</div>
      </td>
      <td>{count(s.filtered)}</td>
      <td className={s.dlq > 0 ? 'warn' : undefined}>{count(s.dlq)}</td>
      <td className={s.dropped > 0 ? 'warn' : undefined}>{count(s.dropped)}</td>
      <td className={s.lost > 0 ? 'bad' : undefined}>{s.state === 'UNKNOWN' ? '?' : count(s.lost)}</td>
      <td>{duration(s.watermark)}</td>
      <td>{s.p50 == null ? DASH : spanDuration(s.p50)}</td>
      <td>{s.p99 == null ? DASH : spanDuration(s.p99)}</td>
    </tr>
  );
}
