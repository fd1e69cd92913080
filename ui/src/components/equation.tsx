// in = out + filtered + dead letters + in flight + LOST, with the numbers: what is missing must be seen.
import { Fragment } from 'react';
import type { LossWindow } from '../api/types';
import { count } from '../lib/format';

export type Balance = Pick<
  LossWindow,
  'up' | 'down' | 'filtered' | 'dlq' | 'dropped' | 'in_flight' | 'lost' | 'surplus' | 'epsilon'
>;

/** Several windows as one. */
export function sum(windows: readonly LossWindow[]): Balance {
  const all = { up: 0, down: 0, filtered: 0, dlq: 0, dropped: 0, in_flight: 0, lost: 0, surplus: 0, epsilon: 0 };
  for (const w of windows) for (const k of Object.keys(all) as (keyof Balance)[]) all[k] += w[k];
  return all;
}

export function Equation({ b, known = true }: { b: Balance; known?: boolean }) {
  const right: { name: string; n: number; always?: boolean; kind?: string }[] = [
    { name: 'out', n: b.down, always: true },
    { name: 'filtered', n: b.filtered, always: true },
    { name: 'dead letters', n: b.dlq, always: true },
    { name: 'dropped', n: b.dropped },
    { name: 'in flight', n: b.in_flight, always: true },
    { name: 'LOST', n: b.lost, always: true, kind: 'lost' },
  ];
  const shown = right.filter((t) => t.always || t.n > 0);
  return (
    <div className="equation" role="group" aria-label="Where every record went">
      <Term name="in" n={b.up} />
      <i>=</i>
      {shown.map((t, k) => (
        <Fragment key={t.name}>
          {k > 0 ? <i>+</i> : null}
          <Term
            name={t.name}
            n={t.n}
            kind={t.kind && (t.n > 0 || !known) ? (known ? 'lost' : 'unknown') : undefined}
            unknown={t.kind === 'lost' && !known}
            more={t.kind === 'lost' && b.epsilon > 0 ? `± ${count(b.epsilon)}` : ''}
          />
        </Fragment>
      ))}
      {b.surplus > 0 ? (
        <>
          <i>−</i>
          <Term name="more than came" n={b.surplus} />
        </>
      ) : null}
    </div>
  );
}

function Term({
  name,
  n,
  kind,
  more,
  unknown,
}: {
  name: string;
  n: number;
  kind?: string;
  more?: string;
  unknown?: boolean;
}) {
  return (
    <span className={kind ? `term ${kind}` : n === 0 && name !== 'in' ? 'term zero' : 'term'}>
      <b>{unknown ? '?' : count(n)}</b>
      <span className="mut">
        {name}
        {more ? ` ${more}` : ''}
      </span>
    </span>
  );
}
