// Runs of windows with loss: what, where, since when, until when, how many, how sure.
import type { Incident } from '../api/types';
import { count, DASH, duration, percent } from '../lib/format';
import { clock, day, when } from '../lib/time';
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
        <div className="narrow told mut">
          <LostOf i={i} word=" lost" />, {i.still ? 'since' : 'from'} {span(i, zone, now)}
        </div>
      </td>
      <td className="l">{when(i.from * 1000, zone, now)}</td>
      <td className="l">
        {i.still ? <b>still</b> : when(i.to * 1000, zone, now)}
        <div className="mut">{duration(seconds(i, now))}</div>
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

/** `28 Nov 20:11 to 20:14`; of one that goes on its begin. */
function span(i: Incident, zone: string, now: number): string {
  const [from, to] = [i.from * 1000, i.to * 1000];
  if (i.still) return `${when(from, zone, now)}, still`;
  return `${when(from, zone, now)} to ${day(from, zone) === day(to, zone) ? clock(to, zone) : when(to, zone, now)}`;
}

const seconds = (i: Incident, now: number) => (i.still ? now / 1000 : i.to) - i.from;

/** Lost, or at most how many where their fate is not known. `word` stands behind the count where no heading does. */
export function LostOf({ i, word = '' }: { i: Incident; word?: string }) {
  if (i.lost > 0)
    return (
      <>
        <span className="bad">{count(i.lost)}</span>
        {word}
        {i.bound > 0 ? <span className="mut"> + ≤ {count(i.bound)} unknown</span> : null}
      </>
    );
  return (
    <span className="mut">
      ≤ {count(i.bound)}
      {word ? ' unknown' : ''}
    </span>
  );
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
                span(i, zone, now)
              )}
              {i.class ? ` · ${i.class}` : ''}
            </span>
          </span>
          <span className="line-num">
            <LostOf i={i} />
            <span className="mut">{i.share == null ? `for ${duration(seconds(i, now))}` : percent(i.share)}</span>
          </span>
        </li>
      ))}
    </ul>
  );
}
