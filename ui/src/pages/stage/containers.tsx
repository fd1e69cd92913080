import type { ContainerRow } from '../../api/types';
import { Meter } from '../../components/meter';
import { Scroll } from '../../components/scroll';
import { bytes, count, DASH, percent, plural } from '../../lib/format';

const share = (used: number | null, limit: number | null) =>
  used == null || limit == null || limit <= 0 ? null : used / limit;

/** Where it runs, and against which limits. */
export function Containers({ rows }: { rows: readonly ContainerRow[] }) {
  if (rows.length === 0) return null;
  const sorted = [...rows].sort((a, b) => (b.throttled ?? 0) - (a.throttled ?? 0) || (b.cpu ?? 0) - (a.cpu ?? 0));
  return (
    <section className="card" aria-label="Containers">
      <div className="row card-head">
        <h2>Containers</h2>
        <span className="mut">most throttled first</span>
      </div>
      <Scroll label="Containers" style={{ maxHeight: 420, overflowY: 'auto' }}>
        <table className="dense" aria-label="Containers">
          <thead>
            <tr>
              <th scope="col" className="l">
                Container
              </th>
              <th scope="col" className="l">
                Node
              </th>
              <th scope="col" className="l">
                Version
              </th>
              <th scope="col">CPU, cores</th>
              <th scope="col" className="l">
                of its limit
              </th>
              <th scope="col">Throttled</th>
              <th scope="col">Memory</th>
              <th scope="col" className="l">
                of its limit
              </th>
              <th scope="col">OOM, 1 h</th>
            </tr>
          </thead>
          <tbody>
            {sorted.map((c) => (
              <Row key={`${c.node} ${c.container}`} c={c} />
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Row({ c }: { c: ContainerRow }) {
  return (
    <tr>
      <td className="l">
        <b>{c.container}</b>
      </td>
      <td className="l">{c.node}</td>
      <td className="l">{c.version || DASH}</td>
      <td>{c.cpu == null ? DASH : c.cpu.toFixed(2)}</td>
      <td className="l">
        <Limit share={share(c.cpu, c.cpu_limit)} limit={c.cpu_limit} say={(n) => plural(n, 'core')} />
      </td>
      <td className={c.throttled != null && c.throttled >= 0.05 ? 'warn' : undefined}>{percent(c.throttled)}</td>
      <td>{bytes(c.memory)}</td>
      <td className="l">
        <Limit share={share(c.memory, c.mem_limit)} limit={c.mem_limit} say={bytes} />
      </td>
      <td className={c.oom != null && c.oom > 0 ? 'bad' : undefined}>{count(c.oom)}</td>
    </tr>
  );
}

function Limit({
  share: used,
  limit,
  say,
}: {
  share: number | null;
  limit: number | null;
  say: (n: number) => string;
}) {
  if (limit == null) return <span className="mut">no limit</span>;
  return (
    <>
      <Meter share={used} width={56} /> <span className="mut">of {say(limit)}</span>
    </>
  );
}
