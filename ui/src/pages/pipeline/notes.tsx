// What happened in the range: changes weir saw, deploys that were told, notes of people.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useMemo } from 'react';
import { http, take } from '../../api/client';
import { type RangeNow, useAnnotations } from '../../api/hooks';
import { type Change, list, type Pipeline } from '../../api/types';
import { kindWord } from '../../components/changes';
import { when } from '../../lib/time';
import { useView } from '../../state/use-view';

export interface Happening extends Change {
  /** Of an annotation somebody told, which can be taken back. */
  annotation?: string;
  by?: string;
  /** Unix ms; 0 = a moment. */
  until?: number;
}

/** Changes of the answer and annotations of the range as one list, newest first, none twice. */
export function join(changes: readonly Change[], told: readonly Happening[], from: number, to: number): Happening[] {
  const seen = new Set<string>();
  return [...told, ...changes]
    .filter((c) => {
      const key = `${Math.round(c.at / 1000)} ${c.text}`;
      if (seen.has(key) || c.at < from || c.at > to) return false;
      seen.add(key);
      return true;
    })
    .sort((a, b) => b.at - a.at);
}

export function useHappened(
  id: string,
  data: Pipeline,
  range: { key: string; now: RangeNow },
  live: boolean,
): readonly Happening[] {
  const answer = useAnnotations(range.key, range.now, id, live);
  const annotations = answer.data?.annotations;
  const { changes } = data;
  return useMemo(() => {
    const { from, to } = range.now();
    const told = list(annotations).map((a) => ({
      at: a.at,
      text: a.text,
      kind: a.kind,
      by: a.by,
      until: a.until,
      ...(a.seen ? {} : { annotation: a.id }),
    }));
    return join(list(changes), told, from, to + 60_000);
  }, [annotations, changes, range]);
}

export function Happened({ changes }: { changes: readonly Happening[] }) {
  const [view] = useView();
  const client = useQueryClient();
  const remove = useMutation({
    mutationFn: (id: string) => take(http.DELETE('/api/v1/annotations/{id}', { params: { path: { id } } })),
    onSuccess: () => void client.invalidateQueries({ queryKey: ['annotations'] }),
  });
  const now = Date.now();
  if (changes.length === 0) return null;
  return (
    <section className="card" aria-label="What happened in this range">
      <div className="row card-head">
        <h2>What happened</h2>
        <span className="mut">in this range</span>
        {remove.error ? <span className="warn">{remove.error.message}</span> : null}
      </div>
      <ul className="lines">
        {changes.slice(0, 20).map((c) => (
          <li key={`${c.at}${c.text}`}>
            <span className="mut num nowrap">{when(c.at, view.tz, now)}</span>
            <span className="line-text">{c.text}</span>
            {c.by ? <span className="mut">{c.by}</span> : null}
            {c.kind ? <span className="tag">{kindWord(c.kind)}</span> : null}
            {c.annotation ? (
              <button
                type="button"
                className="ghost"
                aria-label={`Take back: ${c.text}`}
                onClick={() => remove.mutate(c.annotation as string)}
              >
                Take back
              </button>
            ) : null}
          </li>
        ))}
      </ul>
    </section>
  );
}
