// One row of the ledger: the balance of a window (or of the whole range), why we say so, examples.
import { useId } from 'react';
import { useLossDetail } from '../../api/hooks';
import { type LossDetail, type LossRow, type LossWindow, list } from '../../api/types';
import { Balances, Revised } from '../../components/balances';
import { Examples } from '../../components/examples';
import { incidentPath } from '../../components/incident-list';
import { Go } from '../../components/link';

import { Reasons } from '../../components/reasons';
import { Hatch } from '../../components/ribbon';
import { Screen } from '../../components/screen';
import { State, toneOf } from '../../components/state';
import { count, percent } from '../../lib/format';
import { when, whenSeconds } from '../../lib/time';
import { evidence } from '../../lib/words';
import { useRange, useView } from '../../state/use-view';
import './loss.css';

export function Detail({ row, incident }: { row: LossRow; incident?: string }) {
  const [view] = useView();
  const range = useRange(view, 'now-24h');
  const answer = useLossDetail(row.id, range.key, range.now, view.live && range.relative);
  return (
    <Screen answer={answer} what={`the balance of ${row.where}`} bones={[320]}>
      {(data) => <Panels data={data} row={row} incident={incident} />}
    </Screen>
  );
}

function Panels({ data, row, incident }: { data: LossDetail; row: LossRow; incident?: string }) {
  const [view, set] = useView();
  const windows = list(data.windows);
  const named = windows.find((w) => String(w.window) === view.w);
  // Without a choice: the newest settled window that shows the trouble, else the newest settled one.
  const shown = named ?? windows.find((w) => w.settled && w.lost > 0) ?? windows.find((w) => w.settled) ?? windows[0];
  // Windows of less than a minute are told apart by their seconds.
  const fine = windows.some((w) => w.window % 60 !== 0);
  // What the window shown rests on; where it says nothing of its own, what the row does.
  const why = shown?.why;
  const reasons = list(why?.reasons ?? (named ? [] : data.reasons));
  const examples = list(why?.examples ?? (named ? [] : data.examples));
  const level = why?.level ?? row.level;
  const kind = why ? why.class : named ? '' : row.class;
  const sure = shown?.confidence ?? row.confidence;
  return (
    <div className="loss-detail">
      <section className="card pad" aria-label="Balance">
        <div className="row base">
          <h2>
            {row.pipeline}, {row.where}
          </h2>
          {shown ? (
            <span className="mut">
              {(fine ? whenSeconds : when)(shown.window * 1000, view.tz, Date.now())},{' '}
              {shown.settled
                ? `settled ${shown.settled_at > 0 ? whenSeconds(shown.settled_at, view.tz, Date.now()) : ''}`
                : 'not settled yet'}
              {shown.revision > 1 ? <Revised n={shown.revision - 1} /> : null}
            </span>
          ) : null}
          <span className="grow" />
          {shown ? <State state={shown.verdict} /> : null}
        </div>
        {shown ? <Bars w={shown} /> : <p className="mut">No window of this row lies in the range.</p>}
        {windows.length > 0 ? (
          <details className="windows" open>
            <summary>
              All windows <span className="mut">newest first</span>
            </summary>
            <Balances
              windows={windows}
              zone={view.tz}
              label="Windows"
              short
              shown={shown}
              choose={(w) => set({ w: String(w.window), sel: row.id })}
            />
          </details>
        ) : null}
      </section>
      <section className="card pad why" aria-label="Why we say so">
        <h2>Why we say so</h2>
        {reasons.length > 0 ? (
          <Reasons reasons={reasons} />
        ) : (
          <p className="mut">{shown?.verdict === 'OK' ? 'What came in went out.' : 'No reason is recorded.'}</p>
        )}
        <p className="mut">
          Evidence: {evidence(level)}
          {sure > 0 ? `, confidence ${percent(sure)}` : ''}
          {kind ? `, class ${kind}` : ''}.
        </p>
        {examples.length > 0 ? (
          <Examples ids={examples} known={toneOf(shown?.verdict ?? row.verdict) !== 'unk'} />
        ) : null}
        <div className="row">
          <Go to={`/p/${encodeURIComponent(row.pipeline)}`} className="btn">
            Open the pipeline
          </Go>
          {incident ? (
            <Go to={incidentPath(incident)} className="btn p">
              Open the incident
            </Go>
          ) : null}
        </div>
      </section>
    </div>
  );
}

/** Where every record of the window went. */
function Bars({ w }: { w: LossWindow }) {
  const id = useId();
  const rows: { name: string; n: number; fill: string; hide?: boolean }[] = [
    { name: 'In', n: w.up, fill: 'var(--s1)' },
    { name: 'Out', n: w.down, fill: 'var(--s3)' },
    { name: 'Filtered', n: w.filtered, fill: 'var(--mut)' },
    { name: 'Dead letters', n: w.dlq, fill: 'var(--mut)' },
    { name: 'Dropped, with a reason', n: w.dropped, fill: 'var(--late)', hide: w.dropped === 0 },
    { name: 'In flight', n: w.in_flight, fill: 'var(--mut)' },
    { name: 'Lost', n: w.lost, fill: `url(#${id})` },
    { name: 'More than came', n: w.surplus, fill: 'var(--s2)', hide: w.surplus === 0 },
  ];
  const max = Math.max(1, ...rows.map((r) => r.n));
  return (
    <dl className="bars">
      <svg width="0" height="0" aria-hidden style={{ position: 'absolute' }}>
        <Hatch id={id} />
      </svg>
      {rows
        .filter((r) => !r.hide)
        .map((r) => (
          <div key={r.name}>
            <dt>{r.name}</dt>
            <dd>
              <svg
                className="bar"
                aria-hidden
                preserveAspectRatio="none"
                style={{ width: `calc(var(--bar-room) * ${Math.max(0.004, r.n / max)})` }}
              >
                <rect width="100%" height="100%" rx="3" fill={r.n > 0 ? r.fill : 'var(--line)'} />
              </svg>
              <b className={r.name === 'Lost' && r.n > 0 ? 'bad' : undefined}>{count(r.n)}</b>
              {r.name === 'Lost' && w.epsilon > 0 ? <span className="mut">± {count(w.epsilon)}</span> : null}
              {r.name === 'Lost' && r.n > 0 && w.up > 0 ? <span className="mut">{percent(r.n / w.up)}</span> : null}
            </dd>
          </div>
        ))}
    </dl>
  );
}
