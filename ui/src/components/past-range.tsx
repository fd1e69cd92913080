// On a page of now whose charts show another time: which is which, and the way back.
import { useLiveStatus } from '../api/hooks';
import { clock, day, type Range, resolve, when, zoneName } from '../lib/time';
import { useView } from '../state/use-view';
import { isPast } from '../state/view';
import { useClock } from './clock';

interface Parts {
  /** What the page shows of now. */
  now: string;
  /** What follows the range. */
  past: string;
}

const LATELY = 60_000;

/** Which part of a page is of when; `at` is the time of the answer, which stands still while paused. */
export function says({ now, past }: Parts, { from, to }: Range, at: number, today: number, zone: string): string {
  const dated = (t: number) => `${day(t, zone)} ${clock(t, zone)}`;
  const sameDay = day(from, zone) === day(to, zone);
  const begin = sameDay ? when(from, zone, today) : dated(from);
  const end = sameDay ? clock(to, zone) : dated(to);
  const present = today - at > LATELY ? when(at, zone, today) : 'now';
  return `${now} are of ${present}; ${past} of ${begin} to ${end} ${zoneName(zone, to)}.`;
}

/** Nothing while the range ends now. */
export function PastRange({ at, ...parts }: Parts & { at: number }) {
  const [view, set] = useView();
  // The time of the answer is of the server's clock.
  const today = useClock(5000) - useLiveStatus().skew;
  if (!isPast(view)) return null;
  return (
    <div className="row mut" role="note">
      <span>{says(parts, resolve(view.from, view.to, today), at, today, view.tz)}</span>
      <button type="button" className="btn" onClick={() => set({ from: '', to: '', live: true }, 'push')}>
        Back to now
      </button>
    </div>
  );
}
