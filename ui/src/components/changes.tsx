// What changed: deploys, restarts, settings, notes. Each leads to its time.
import { useRouterState } from '@tanstack/react-router';
import type { Change } from '../api/types';
import { when } from '../lib/time';
import { useView } from '../state/use-view';
import { Go } from './link';

const HALF = 30 * 60_000;

const WORDS: Record<string, string> = {
  deploy: 'deploy',
  config: 'setting',
  instance: 'instance',
  collector: 'collector',
  state: 'state',
  incident: 'incident',
  note: 'note',
};

export const kindWord = (kind: string): string => WORDS[kind] ?? kind;

/** A change in a line of text; following it shows the hour around it. */
export function ChangeLine({ change }: { change: Change }) {
  const [view] = useView();
  const path = useRouterState({ select: (s) => s.location.pathname });
  const around = { from: String(change.at - HALF), to: String(change.at + HALF), live: false };
  return (
    <Go to={path.startsWith('/p/') ? '.' : '/'} view={around} className="change">
      {when(change.at, view.tz, Date.now())} {change.text}
    </Go>
  );
}

/** Changes as lines of a card, newest first. */
export function ChangeList({ changes, zone }: { changes: readonly Change[]; zone: string }) {
  const now = Date.now();
  return (
    <ul className="lines">
      {changes.map((c) => (
        <li key={`${c.at}${c.text}`}>
          <span className="mut num nowrap">{when(c.at, zone, now)}</span>
          <span className="line-text">{c.text}</span>
          {c.kind ? <span className="tag">{kindWord(c.kind)}</span> : null}
        </li>
      ))}
    </ul>
  );
}
