import { count, DASH } from '../../lib/format';
import { when } from '../../lib/time';
import { type Grid, summaries } from './model';

const known = (v: number) => (v < 0 ? 'not known' : count(v));

/** The strip as numbers, the largest backlog first. */
export function HeatTable({ g, zone, label }: { g: Grid; zone: string; label: string }) {
  const rows = summaries(g).sort((a, b) => b.now - a.now);
  return (
    <div
      className="scroll"
      style={{ maxHeight: 380, overflowY: 'auto' }}
      tabIndex={0}
      role="region"
      aria-label={`Backlog of ${label} as numbers`}
    >
      <table className="dense">
        <thead>
          <tr>
            <th scope="col" className="l">
              Partition
            </th>
            <th scope="col">Unread now</th>
            <th scope="col">Most in this range</th>
            <th scope="col">at</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((r) => (
            <tr key={r.partition}>
              <td className="l">{r.partition}</td>
              <td>{known(r.now)}</td>
              <td>{known(r.most)}</td>
              <td>{r.most < 0 ? DASH : when(r.mostAt, zone, Date.now())}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
