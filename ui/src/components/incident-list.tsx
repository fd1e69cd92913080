// Runs of windows with loss: what, where, since when, until when, how many, how sure.
import type { Incident } from '../api/types';
import { count, DASH, duration, percent } from '../lib/format';
import { when } from '../lib/time';
import { evidence, howSure } from '../lib/words';
import { Revised } from './balances';
import { Go } from './link';
import { Scroll } from './scroll';
import { State } from './state';

export const incidentPath = (id: string) => `/loss/${encodeURIComponent(id)}`;

const COLUMNS = ['Verdict', 'Where', 'Since', 'Until', 'Lost', 'Share', 'Class', 'How sure'];
const RIGHT = new Set(['Lost', 'Share']);

export function IncidentTable({
  rows,
  zone,
  cursor,
  open,
}: {
  rows: readonly Incident[];
  zone: string;
  cursor: number;
  open: (i: Incident) => void;
}) {
  return (
    <Scroll label="Incidents">
      <table aria-label="Incidents">
        <thead>
          <tr>
            {COLUMNS.map((c) => (
              <th scope="col" key={c} className={RIGHT.has(c) ? undefined : 'l'}>
                {c}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((i, n) => (
            <Row key={i.id} i={i} index={n} on={n === cursor} zone={zone} open={open} />
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function Row({
  i,
  index,
  on,
  zone,
  open,
}: {
  i: Incident;
  index: number;
  on: boolean;
  zone: string;
  open: (i: Incident) => void;
}) {
  const now = Date.now();
  return (
    <tr
      className={on ? 'go tall sel' : 'go tall'}
      data-row={index}
      aria-selected={on}
      onClick={(e) => (e.target as HTMLElement).closest('a') || open(i)}
    >
      <td className="l">
        <State state={i.verdict} />
      </td>
      <td className="l">
        <Go to={incidentPath(i.id)} className="name">
          {i.pipeline}
        </Go>
        <div className="mut">{i.row.where}</div>
      </td>
      <td className="l">{when(i.from * 1000, zone, now)}</td>
      <td className="l">
        {i.still ? <b>still</b> : when(i.to * 1000, zone, now)}
        <div className="mut">{duration((i.still ? now / 1000 : i.to) - i.from)}</div>
      </td>
      <td>
        <LostOf i={i} />
      </td>
      <td>{i.share == null ? '' : percent(i.share)}</td>
      <td className="l words">
        {i.class || DASH}
        {i.revised > 0 ? <Revised n={i.revised} /> : null}
      </td>
      <td className="l">
        {howSure(i.row.confidence)}
        <div className="mut">{evidence(i.level)}</div>
      </td>
    </tr>
  );
}

/** Lost, or at most how many where their fate is not known. */
export function LostOf({ i }: { i: Incident }) {
  if (i.lost > 0)
    return (
      <>
        <span className="bad">{count(i.lost)}</span>
        {i.bound > 0 ? <span className="mut"> + ≤ {count(i.bound)} unknown</span> : null}
      </>
    );
  return <span className="mut">≤ {count(i.bound)}</span>;
}

/** Incidents as lines of a card. */
export function IncidentLines({ rows, zone }: { rows: readonly Incident[]; zone: string }) {
  const now = Date.now();
  return (
    <ul className="lines">
      {rows.map((i) => (
        <li key={i.id}>
          <State state={i.verdict} />
          <span className="line-text">
            <Go to={incidentPath(i.id)}>
              {i.pipeline}: {i.row.where}
            </Go>
            <span className="mut">
              {i.still ? (
                <>
                  since {when(i.from * 1000, zone, now)}, <b>still</b>
                </>
              ) : (
                <>
                  {when(i.from * 1000, zone, now)} to {when(i.to * 1000, zone, now)}
                </>
              )}
              {i.class ? ` · ${i.class}` : ''}
            </span>
          </span>
          <span className="line-num">
            <LostOf i={i} />
            <span className="mut">{i.share == null ? duration(i.to - i.from) : percent(i.share)}</span>
          </span>
        </li>
      ))}
    </ul>
  );
}
