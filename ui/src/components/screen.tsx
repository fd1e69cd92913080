// The states of a screen that are not the answer itself: loading, empty, error, stale (product.md 4.4).
import { type ReactNode, useRef } from 'react';
import { ApiError } from '../api/client';
import type { Completeness } from '../api/types';
import { list } from '../api/types';
import { percent } from '../lib/format';
import { told } from '../lib/told';
import { useView } from '../state/use-view';
import { CopyButton } from './copy-button';
import { Shape } from './state';

/** Bones of the final layout; invisible for the first 150 ms. */
export function Skeleton({ heights, label = 'Loading' }: { heights: number[]; label?: string }) {
  return (
    <div className="skeleton" role="status" aria-label={label}>
      {heights.map((height, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: bones have no identity and never move
        <div key={i} className="bone" style={{ height }} />
      ))}
    </div>
  );
}

export function Failure({ error, retry, what }: { error: Error; retry: () => void; what: string }) {
  const api = error instanceof ApiError ? error : undefined;
  return (
    <div className="card banner lose pad" role="alert">
      <div className="row">
        <Shape tone="lose" />
        <b>Cannot show {what}.</b>
        <span>{error.message}</span>
        <span className="grow" />
        <button type="button" className="btn" onClick={retry}>
          Try again
        </button>
      </div>
      {api?.path ? (
        <div className="mut mono" style={{ marginTop: 6 }}>
          {api.status || 'no answer'} · {api.path}
        </div>
      ) : null}
    </div>
  );
}

/** Nothing is configured yet: what to paste, and a light that waits for the first data. */
export function NothingYet({ title, children, snippet }: { title: string; children: ReactNode; snippet: string }) {
  return (
    <section className="card state-box" aria-label={title}>
      <h2>{title}</h2>
      <p className="mut">{children}</p>
      <pre>{snippet}</pre>
      <div className="row">
        <CopyButton text={snippet} label="Copy" />
        <span className="row mut" role="status" style={{ gap: 8 }}>
          <span className="waiting" aria-hidden /> Waiting for the first data
        </span>
      </div>
    </section>
  );
}

/** Something is there, but not what was searched. */
export function NothingMatches({ what, near, clear }: { what: string; near?: string[]; clear?: () => void }) {
  return (
    <div className="state-box" role="status">
      <b>Nothing matches {what}.</b>
      {near && near.length > 0 ? <p className="mut">Nearest: {near.join(', ')}</p> : null}
      {clear ? (
        <button type="button" className="btn" onClick={clear}>
          Clear the filter
        </button>
      ) : null}
    </div>
  );
}

export function NotAllowed({ what }: { what: string }) {
  return (
    <div className="card state-box" role="status">
      <b>You may not see {what}.</b>
      <p className="mut">Ask whoever runs this weir server for a role that reads it.</p>
    </div>
  );
}

/** A notice above an answer that rests on less than all telemetry. */
export function Partial({ completeness }: { completeness: Completeness | undefined }) {
  const [view] = useView();
  const missing = list(completeness?.missing);
  if (missing.length === 0) return null;
  return (
    <div className="card pad partial" role="status">
      <b>{completeness?.share == null ? 'Part' : percent(completeness.share)} of the expected telemetry arrived.</b>{' '}
      <span className="mut">{told(missing.join(' '), view.tz, Date.now())}</span>
    </div>
  );
}

interface Answer<T> {
  data: T | undefined;
  error: Error | null;
  isPending: boolean;
  isPlaceholderData: boolean;
  refetch: () => unknown;
}

/** Chooses between skeleton, error and the answer; old data stays, dimmed, while new data loads. */
export function Screen<T>({
  answer,
  what,
  bones,
  children,
}: {
  answer: Answer<T>;
  what: string;
  bones: number[];
  children: (data: T) => ReactNode;
}) {
  const { data } = answer;
  // A question that failed and is asked again has no error for a moment: the screen must not blink.
  const last = useRef({ what, error: answer.error });
  if (data !== undefined || answer.error || last.current.what !== what) last.current = { what, error: answer.error };
  const { error } = last.current;
  if (data === undefined) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return <NotAllowed what={what} />;
    if (error) return <Failure error={error} what={what} retry={answer.refetch} />;
    return <Skeleton heights={bones} label={`Loading ${what}`} />;
  }
  return (
    <>
      {error ? <Failure error={error} what={`newer ${what}`} retry={answer.refetch} /> : null}
      <div className={answer.isPlaceholderData ? 'dimmed screen' : 'screen'} aria-busy={answer.isPlaceholderData}>
        {children(data)}
      </div>
    </>
  );
}
