// The balances of a row, one line per event window. A verdict that was changed after it was settled is marked.
import type { LossWindow } from '../api/types';
import { count, DASH } from '../lib/format';
import { clock, clockSeconds, day } from '../lib/time';
import { State } from './state';

const MOST = 240;

type Amount = 'up' | 'down' | 'filtered' | 'dlq' | 'dropped' | 'in_flight' | 'surplus';

const ALL: readonly [Amount, string][] = [
  ['up', 'In'],
  ['down', 'Out'],
  ['filtered', 'Filtered'],
  ['dlq', 'Dead letters'],
  ['dropped', 'Dropped'],
  ['in_flight', 'In flight'],
  ['surplus', 'Twice'],
];
const SHORT = ALL.filter(([k]) => k === 'up' || k === 'down' || k === 'in_flight');
const WARN = new Set<Amount>(['dlq', 'dropped']);

interface Props {
  windows: readonly LossWindow[];
  zone: string;
  label: string;
  shown?: LossWindow;
  choose?: (w: LossWindow) => void;
  /** Only what fits half a page. */
  short?: boolean;
}

export function Balances({ windows, zone, label, shown, choose, short }: Props) {
  // Windows of less than a minute are told apart by their seconds.
  const fine = windows.some((w) => w.window % 60 !== 0);
  const columns = short ? SHORT : ALL;
  const time = (w: LossWindow) => (fine ? clockSeconds : clock)(w.window * 1000, zone);
  return (
    <div className="scroll tall-list" style={{ maxHeight: 340 }} tabIndex={0} role="region" aria-label={label}>
      <table className="dense wide" aria-label={label}>
        <thead>
          <tr>
            <th scope="col" className="l">
              Event time
            </th>
            <th scope="col" className="l">
              Verdict
            </th>
            {columns.map(([k, name]) => (
              <th scope="col" key={k}>
                {name}
              </th>
            ))}
            <th scope="col">Lost</th>
            {short ? null : (
              <th scope="col" className="l">
                Settled
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {windows.slice(0, MOST).map((w) => (
            <tr key={w.window} className={w === shown ? 'sel' : undefined}>
              <td className="l">
                <span className="mut">{day(w.window * 1000, zone)}</span>{' '}
                {choose ? (
                  <button type="button" className="ghost" aria-pressed={w === shown} onClick={() => choose(w)}>
                    {time(w)}
                  </button>
                ) : (
                  time(w)
                )}
              </td>
              <td className="l">
                <State state={w.verdict} />
                {w.revision > 1 ? <Revised n={w.revision - 1} /> : null}
              </td>
              {columns.map(([k]) => (
                <td key={k} className={WARN.has(k) && w[k] > 0 ? 'warn' : undefined}>
                  {count(w[k])}
                </td>
              ))}
              <td className={w.lost > 0 ? 'bad' : undefined}>
                <Lost w={w} />
              </td>
              {short ? null : (
                <td className="l mut">
                  {w.settled_at > 0 ? clockSeconds(w.settled_at, zone) : w.settled ? 'yes' : 'not yet'}
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      {windows.length > MOST ? (
        <p className="pad mut">
          {MOST} of {count(windows.length)} windows, the newest first.
        </p>
      ) : null}
    </div>
  );
}

function Lost({ w }: { w: LossWindow }) {
  if (!w.settled) return <>{DASH}</>;
  if (w.verdict.startsWith('UNKNOWN')) return <span className="mut">?</span>;
  return (
    <>
      {count(w.lost)}
      {w.epsilon > 0 ? <span className="mut"> ± {count(w.epsilon)}</span> : null}
    </>
  );
}

/** The verdict was another one before late data came. */
export function Revised({ n }: { n: number }) {
  return (
    <span className="tag revised" title="The verdict was changed after it was settled, because late data came">
      revised {n} ×
    </span>
  );
}
