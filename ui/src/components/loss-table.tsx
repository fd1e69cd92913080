import { type LossRow, list } from '../api/types';
import { count, DASH, percent } from '../lib/format';
import { when } from '../lib/time';
import { evidence } from '../lib/words';
import { Ribbon } from './ribbon';
import { Scroll } from './scroll';
import { State } from './state';

interface Props {
  rows: readonly LossRow[];
  /** The range of the answer, Unix ms. */
  from: number;
  to: number;
  zone: string;
  /** Index under the cursor. */
  cursor: number;
  open: (row: LossRow) => void;
  /** What the ribbon spans, for its heading. */
  span: string;
  /** Leave out the pipeline where the page says it. */
  short?: boolean;
}

/** The ledger: where, since when, how many, why. */
export function LossTable({ rows, from, to, zone, cursor, open, span, short }: Props) {
  const now = Date.now();
  return (
    <Scroll label="Loss ledger">
      <table aria-label="Loss ledger">
        <thead>
          <tr>
            <th scope="col" className="l">
              Verdict
            </th>
            <th scope="col" className="l">
              Where
            </th>
            <th scope="col" className="l">
              Event time, {span}
            </th>
            <th scope="col" className="l">
              Since
            </th>
            <th scope="col">Lost</th>
            <th scope="col">Share</th>
            <th scope="col" className="l">
              Class
            </th>
            <th scope="col" className="l">
              Evidence
            </th>
            <th scope="col">Confidence</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((r, i) => (
            <tr
              key={r.id}
              className={i === cursor ? 'go sel tall' : 'go tall'}
              data-row={i}
              aria-selected={i === cursor}
              onClick={() => open(r)}
            >
              <td className="l">
                <State state={r.verdict} />
              </td>
              <td className="l">
                <button type="button" className="where" onClick={() => open(r)}>
                  {short ? null : <b>{r.pipeline}</b>}
                  <span className={short ? undefined : 'mut'}>{r.where}</span>
                  <span className="narrow">
                    <Brief row={r} zone={zone} now={now} />
                  </span>
                </button>
              </td>
              <td className="l">
                <Ribbon cells={list(r.ribbon)} from={from} to={to} zone={zone} width={236} />
              </td>
              <td className="l">
                {r.since == null ? DASH : when(r.since * 1000, zone, now)}
                {r.still ? <b>, still</b> : null}
              </td>
              <td>
                <Lost row={r} />
              </td>
              <td>{r.share == null ? '' : percent(r.share)}</td>
              <td className="l words">{r.class || ''}</td>
              <td className="l">{evidence(r.level)}</td>
              <td>{r.confidence > 0 ? percent(r.confidence) : DASH}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

/** What a narrow screen shows without scrolling: how many, since when. */
function Brief({ row, zone, now }: { row: LossRow; zone: string; now: number }) {
  if (row.lost === 0 && row.bound === 0 && row.surplus === 0 && !missing(row)) return null;
  return (
    <>
      <Lost row={row} word=" lost" />
      {row.since == null ? null : ` since ${when(row.since * 1000, zone, now)}`}
      {row.still ? ', still' : ''}
    </>
  );
}

/**
 * Records that came in and did not come out, of a row that lost none. What a stage left out on purpose and what is still
 * in it are one figure in the row, so it says no more than that.
 */
export function missing(row: Pick<LossRow, 'verdict' | 'kind' | 'up' | 'down'>): string {
  const n = row.up - row.down;
  if (n <= 0 || !['LATE', 'IN_FLIGHT', 'FILTERED'].includes(row.verdict)) return '';
  return row.kind === 'transport' ? `${count(n)} outstanding` : `${count(n)} fewer out`;
}

/** `word` stands behind the count where no heading does. */
function Lost({ row, word = '' }: { row: LossRow; word?: string }) {
  if (row.lost > 0)
    return (
      <>
        <span className="bad">{count(row.lost)}</span>
        {word}
        {row.bound > 0 ? <div className="mut">≤ {count(row.bound)} unknown</div> : null}
      </>
    );
  if (row.bound > 0) return <span className="mut">≤ {count(row.bound)}</span>;
  if (row.surplus > 0) return <span className="mut">{count(row.surplus)} twice</span>;
  const out = missing(row);
  if (out)
    return (
      <span className="mut" title={WHY_MISSING[row.kind]}>
        {out}
      </span>
    );
  // Not settled: that none is lost is not known yet.
  if (row.verdict === 'IN_FLIGHT' || row.verdict === 'LATE') return <>{DASH}</>;
  return row.verdict.startsWith('UNKNOWN') || row.verdict === '' ? <span className="mut">?</span> : <>0</>;
}

const WHY_MISSING: Record<LossRow['kind'], string> = {
  transport: 'None lost: in minus out of this range, still on their way',
  balance: 'None lost: in minus out of this range, filtered, dead letters, or still in the stage',
};
