// Why it is late: the class as a chip, the sentence, what changed before, and the figures it rests on.
import type { ReactNode } from 'react';
import { type Cause, list } from '../api/types';
import { duration } from '../lib/format';
import { when } from '../lib/time';
import { told } from '../lib/told';
import { causeWord } from '../lib/words';
import { useView } from '../state/use-view';
import { CauseIcon } from './cause-icon';
import { ChangeLine } from './changes';
import { useClock } from './clock';
import { toneOf } from './state';

// The full stop that ends a sentence has a space behind it; the one in "6.9 k/s" has not.
const END = /[.:;](?=\s)/;

/** The first sentence of a text, and the rest. */
export function split(text: string): [string, string] {
  const i = text.search(END);
  return i < 0 ? [text, ''] : [text.slice(0, i + 1), text.slice(i + 1).trim()];
}

export function CauseChip({ kind }: { kind: string }) {
  return (
    <span className="cause-chip">
      <CauseIcon kind={kind} />
      {causeWord(kind)}
    </span>
  );
}

/** The sentence at the head of a page; `more` stands behind it, muted. */
export function CauseCard({
  cause,
  sentence,
  state,
  since,
  more,
  action,
}: {
  cause: Cause | null | undefined;
  sentence: string;
  state: string;
  /** What the page says already, Unix ms. */
  since?: number;
  more?: ReactNode;
  /** Where it leads: a link at the end of the sentence. */
  action?: ReactNode;
}) {
  const [view] = useView();
  const [first, rest] = split(told(cause?.sentence || sentence, view.tz, Date.now()));
  if (!first) return null;
  const facts = list(cause?.facts);
  return (
    <section className={`card pad banner cause ${toneOf(state)}`} aria-label="Cause">
      <p>
        {cause ? <CauseChip kind={cause.class} /> : null}
        <b>{first}</b> {rest} {more ? <span className="mut">{more}</span> : null}{' '}
        {action ? <span className="in-text">{action}</span> : null}
      </p>
      {cause ? <Before cause={cause} said={since ?? 0} /> : null}
      {facts.length > 0 ? (
        <details>
          <summary>What this rests on</summary>
          <ul>
            {facts.map((f) => (
              <li key={f}>{f}</li>
            ))}
          </ul>
        </details>
      ) : null}
    </section>
  );
}

const MINUTE = 60_000;

function Before({ cause, said }: { cause: Cause; said: number }) {
  const [view] = useView();
  const now = useClock(5000);
  const began = cause.since > 0 && Math.abs(cause.since - said) > MINUTE;
  if (!began && !cause.before) return null;
  return (
    <p className="row before">
      {began ? (
        <span className="mut">
          Began {when(cause.since, view.tz, now)}, {duration((now - cause.since) / 1000)} ago.
        </span>
      ) : null}
      {cause.before ? (
        <span>
          <span className="mut">The change before it:</span> <ChangeLine change={cause.before} />
        </span>
      ) : null}
    </p>
  );
}
