import type { PathLatency } from '../api/types';
import { count, spanDuration } from '../lib/format';
import { Scroll } from './scroll';

const W = 180;

/** From the origin to each stage; the bar goes from p50 over p95 to p99 on one scale. */
export function Latency({ rows }: { rows: readonly PathLatency[] }) {
  if (rows.length === 0) return null;
  const most = Math.max(1e-9, ...rows.map((r) => r.p99));
  return (
    <section className="card" aria-label="Latency from the origin">
      <div className="row card-head base">
        <h2>Latency from the origin</h2>
        <span className="mut">merged sketches of the last hour, never a sum of percentiles</span>
      </div>
      <Scroll label="Latency from the origin">
        <table className="dense" aria-label="Latency from the origin">
          <thead>
            <tr>
              <th scope="col" className="l">
                Stage
              </th>
              <th scope="col">p50</th>
              <th scope="col">p90</th>
              <th scope="col">p95</th>
              <th scope="col">p99</th>
              <th scope="col">Max</th>
              <th scope="col" className="l">
                <span className="sr">p50, p95 and p99, drawn</span>
              </th>
              <th scope="col">Records</th>
              <th scope="col" className="l">
                Clocks
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((r) => (
              <tr key={`${r.stage} ${r.destination}`}>
                <td className="l">
                  <b>{r.stage}</b> <span className="mut">{r.destination}</span>
                </td>
                <td>{spanDuration(r.p50)}</td>
                <td>{spanDuration(r.p90)}</td>
                <td>{spanDuration(r.p95)}</td>
                <td>
                  <b>{spanDuration(r.p99)}</b>
                </td>
                <td>{spanDuration(r.max)}</td>
                <td className="l">
                  <svg width={W} height="10" aria-hidden>
                    <rect width={(W * r.p99) / most} height="10" rx="2" fill="var(--s1)" opacity="0.25" />
                    <rect width={(W * r.p95) / most} height="10" rx="2" fill="var(--s1)" opacity="0.45" />
                    <rect width={Math.max(1.5, (W * r.p50) / most)} height="10" rx="2" fill="var(--s1)" />
                  </svg>
                </td>
                <td>{count(r.count)}</td>
                <td className="l">{r.clamped > 0 ? <Clocks row={r} /> : <span className="mut">no skew seen</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Clocks({ row }: { row: PathLatency }) {
  return (
    <span className="warn" title={`${count(row.clamped)} negative latencies were counted as 0`}>
      differ by {spanDuration(row.skew)} or more
    </span>
  );
}
