import type { Dependency } from '../../api/types';
import { Go } from '../../components/link';
import { Meter } from '../../components/meter';
import { count, spanDuration } from '../../lib/format';

/** What the stage waits for while it works, by its spans. */
export function Dependencies({ rows, service }: { rows: readonly Dependency[]; service: string }) {
  return (
    <section className="card" aria-label="What it waits for">
      <div className="row card-head">
        <h2>What it waits for</h2>
        <span className="mut">share of its working time</span>
        <span className="grow" />
        <Go to="/traces" view={{ service }}>
          Traces
        </Go>
      </div>
      {rows.length === 0 ? <p className="pad mut">Not known: no spans of it call anything.</p> : null}
      <ul className="lines">
        {rows.map((d) => (
          <li key={d.name}>
            <span className="line-text">
              {d.name}
              <span className="mut">
                p99 {spanDuration(d.p99)}, {count(d.spans)} spans
              </span>
            </span>
            <Meter share={d.share} warn={0.5} />
          </li>
        ))}
      </ul>
    </section>
  );
}
