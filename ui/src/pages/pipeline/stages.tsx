import { list, type StageRow } from '../../api/types';
import { Scroll } from '../../components/scroll';
import { State } from '../../components/state';
import { count, DASH, rate, spanDuration } from '../../lib/format';

const COLUMNS = ['In /s', 'Out /s', 'In', 'Out', 'Filtered', 'Dead-lettered', 'Dropped', 'Lost', 'p50', 'p99'];

/** The balance of each stage over the settled windows of the last hour. */
export function Stages({ rows }: { rows: readonly StageRow[] }) {
  return (
    <Scroll label="Stages" className="card">
      <table aria-label="Stages, settled windows of the last hour">
        <thead>
          <tr>
            <th scope="col" className="l">
              State
            </th>
            <th scope="col" className="l">
              Stage
            </th>
            {COLUMNS.map((c) => (
              <th scope="col" key={c}>
                {c}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((s) => (
            <tr key={s.stage} className="tall">
              <td className="l">
                <State state={s.state} />
              </td>
              <td className="l">
                <b>{s.stage}</b>
                <div className="mut">{instances(list(s.instances))}</div>
              </td>
              <td>{rate(s.rate_in)}</td>
              <td>{rate(s.rate_out)}</td>
              <td>{count(s.in)}</td>
              <td>{count(s.out)}</td>
              <td>{count(s.filtered)}</td>
              <td className={s.dlq > 0 ? 'warn' : undefined}>{count(s.dlq)}</td>
              <td className={s.dropped > 0 ? 'warn' : undefined}>{count(s.dropped)}</td>
              <td className={s.lost > 0 ? 'bad' : undefined}>{s.state === 'UNKNOWN' ? '?' : count(s.lost)}</td>
              <td>{s.p50 == null ? DASH : spanDuration(s.p50)}</td>
              <td>{s.p99 == null ? DASH : spanDuration(s.p99)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function instances(names: readonly string[]): string {
  if (names.length === 0) return '';
  if (names.length <= 3) return names.join(', ');
  return `${names.slice(0, 2).join(', ')} and ${names.length - 2} more`;
}
