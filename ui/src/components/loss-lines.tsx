import type { LossRow } from '../api/types';
import { count, percent } from '../lib/format';
import { when } from '../lib/time';
import { Go } from './link';
import { State } from './state';

/** Rows of the ledger as lines of a card. */
export function LossLines({ rows, zone }: { rows: readonly LossRow[]; zone: string }) {
  const now = Date.now();
  return (
    <ul className="lines">
      {rows.slice(0, 5).map((l) => (
        <li key={l.id}>
          <State state={l.verdict} />
          <span className="line-text">
            <Go to="/loss" view={{ sel: l.id }}>
              {l.pipeline}: {l.where}
            </Go>
            <span className="mut">
              {l.since == null ? '' : `since ${when(l.since * 1000, zone, now)}`}
              {l.still ? ', still' : ''} {l.class ? `· ${l.class}` : ''}
            </span>
          </span>
          <span className="line-num">
            <b className={l.lost > 0 ? 'bad' : 'mut'}>{l.lost > 0 ? count(l.lost) : `≤ ${count(l.bound)}`}</b>
            <span className="mut">{l.share == null ? '' : percent(l.share)}</span>
          </span>
        </li>
      ))}
    </ul>
  );
}
