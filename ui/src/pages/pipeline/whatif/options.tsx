import { list, type WhatIf } from '../../../api/types';
import { count, duration, rate } from '../../../lib/format';

const W = 90;

/** How long the backlog takes for each number of consumers; pressing one chooses it. */
export function Options({
  data,
  chosen,
  choose,
}: {
  data: WhatIf;
  chosen: number | undefined;
  choose: (consumers: number) => void;
}) {
  const rows = list(data.consumers);
  if (rows.length === 0) return null;
  const longest = Math.max(1, ...rows.map((r) => r.drain ?? 0));
  return (
    <table className="dense options" aria-label="Drain by number of consumers">
      <thead>
        <tr>
          <th scope="col" className="l">
            Consumers
          </th>
          <th scope="col">Drains in</th>
          <th scope="col" className="l">
            <span className="sr">drawn</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map((r) => (
          <tr key={r.consumers} className={r.consumers === chosen ? 'sel' : undefined}>
            <td className="l">
              <button
                type="button"
                className="ghost"
                aria-pressed={r.consumers === chosen}
                onClick={() => choose(r.consumers)}
              >
                {r.consumers}
              </button>
              {r.consumers === data.base.consumers ? <span className="mut">now</span> : null}
            </td>
            <td>{r.drain == null ? <span className="warn">never</span> : duration(r.drain)}</td>
            <td className="l">
              <svg width={W} height="8" aria-hidden>
                {r.drain == null ? (
                  <path d={`M0 4H${W}`} stroke="var(--late)" strokeWidth="2" strokeDasharray="4 3" />
                ) : (
                  <rect width={Math.max(1.5, (W * r.drain) / longest)} height="8" rx="2" fill="var(--s1)" />
                )}
              </svg>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const MOST = 24;

/** The same by partition, worst first: skew decides, and no number of consumers helps it. */
export function Partials({ data }: { data: WhatIf }) {
  const rows = list(data.each);
  if (rows.length < 2) return null;
  const say = (drain: number | null | undefined) =>
    drain == null ? <span className="warn">never</span> : duration(drain);
  return (
    <details>
      <summary>
        By partition{' '}
        <span className="mut">worst first{rows.length > MOST ? `, ${MOST} of ${count(rows.length)}` : ''}</span>
      </summary>
      <div className="scroll">
        <table className="dense" aria-label="Drain by partition">
          <thead>
            <tr>
              <th scope="col">Partition</th>
              <th scope="col">Unread</th>
              <th scope="col">In /s</th>
              <th scope="col">Drains as it is</th>
              <th scope="col">Changed</th>
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, MOST).map((r) => (
              <tr key={r.partition}>
                <td>{r.partition}</td>
                <td>{count(r.lag)}</td>
                <td>{rate(r.in)}</td>
                <td>{say(r.base)}</td>
                <td>{say(r.changed)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
