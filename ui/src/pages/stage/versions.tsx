import type { VersionRow } from '../../api/types';
import { plural } from '../../lib/format';
import { when } from '../../lib/time';

/** What runs, and what ran before. */
export function Versions({ rows, zone }: { rows: readonly VersionRow[]; zone: string }) {
  if (rows.length === 0) return null;
  const now = Date.now();
  return (
    <section className="card" aria-label="Versions">
      <div className="row card-head">
        <h2>Versions</h2>
      </div>
      <ul className="lines">
        {rows.map((v) => (
          <li key={`${v.version} ${v.image}`}>
            <span className="line-text">
              <b>{v.version || v.image}</b>
              <span className="mut">{v.version ? v.image : ''}</span>
            </span>
            <span className="line-num">
              <span>{v.instances > 0 ? plural(v.instances, 'instance') : <span className="mut">gone</span>}</span>
              <span className="mut">
                since {when(v.first, zone, now)}
                {v.instances > 0 ? '' : `, until ${when(v.last, zone, now)}`}
              </span>
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}
