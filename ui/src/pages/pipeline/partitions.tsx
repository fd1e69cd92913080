// Partitions as each group reads them: skew shows as one long bar among short ones.
import type { PartitionRow } from '../../api/types';
import { Scroll } from '../../components/scroll';
import { State, toneOf } from '../../components/state';
import { count, duration, percent } from '../../lib/format';

const MOST = 500;

export function Partitions({ rows }: { rows: readonly PartitionRow[] }) {
  const groups = new Map<string, PartitionRow[]>();
  for (const r of rows.slice(0, MOST)) {
    const key = `${r.system} ${r.destination} → ${r.group || 'nobody'}`;
    groups.set(key, [...(groups.get(key) ?? []), r]);
  }
  return (
    <>
      {[...groups].map(([name, part]) => (
        <Group key={name} name={name} rows={part} />
      ))}
      {rows.length > MOST ? (
        <p className="mut">
          {MOST} of {count(rows.length)} partitions are shown.
        </p>
      ) : null}
    </>
  );
}

function Group({ name, rows }: { name: string; rows: readonly PartitionRow[] }) {
  const total = rows.reduce((n, r) => n + (r.lag?.messages ?? 0), 0);
  const most = Math.max(1, ...rows.map((r) => r.lag?.messages ?? 0));
  return (
    <section className="card" aria-label={name}>
      <div className="row card-head">
        <h2>{name}</h2>
        <span className="mut">{count(total)} records behind</span>
      </div>
      <Scroll label={name}>
        <table className="dense" aria-label={name}>
          <thead>
            <tr>
              <th scope="col" className="l">
                State
              </th>
              <th scope="col">Partition</th>
              <th scope="col">Lag</th>
              <th scope="col">Records</th>
              <th scope="col" className="l">
                Share of the backlog
              </th>
              <th scope="col">Committed</th>
              <th scope="col">End</th>
              <th scope="col">Unacked</th>
              <th scope="col">Redelivered</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((r) => {
              const n = r.lag?.messages;
              return (
                <tr key={r.partition}>
                  <td className="l">
                    <State state={r.state} />
                  </td>
                  <td>{r.partition}</td>
                  <td>
                    <b>{duration(r.lag?.seconds)}</b>
                  </td>
                  <td>{count(n)}</td>
                  <td className="l">
                    <svg width="120" height="10" aria-hidden>
                      <rect
                        width={n == null ? 0 : Math.max(1, (120 * n) / most)}
                        height="10"
                        rx="2"
                        fill={toneOf(r.state) === 'late' ? 'var(--late)' : 'var(--s1)'}
                      />
                    </svg>{' '}
                    <span className="mut">{n == null ? 'not known' : total > 0 ? percent(n / total) : ''}</span>
                  </td>
                  <td>{count(r.committed)}</td>
                  <td>{count(r.end)}</td>
                  <td>{count(r.pending)}</td>
                  <td>{count(r.redelivered)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}
