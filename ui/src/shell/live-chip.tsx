import { useLiveStatus, useNow } from '../api/hooks';
import { useClock } from '../components/clock';
import { Shape, type Tone } from '../components/state';
import { duration } from '../lib/format';

const STALE = 15;

/** How many seconds the newest answer is behind the server's clock; undefined before the first. */
function useBehind(on: boolean): number | undefined {
  const status = useLiveStatus();
  const at = useNow(on).data?.at;
  const now = useClock();
  return at === undefined ? undefined : Math.max(0, Math.round((now - status.skew - at) / 1000));
}

/** Does the page want to be live and is not? Then what it says about now is not known. */
export function useStale(on: boolean): boolean {
  const behind = useBehind(on);
  return on && behind !== undefined && behind > STALE;
}

/** Is what I see current? Says how far the answer is behind the server's clock; never a frozen green. */
export function LiveChip({ on, past, toggle }: { on: boolean; past: boolean; toggle: () => void }) {
  const status = useLiveStatus();
  const behind = useBehind(on);
  const { tone, word, detail } = past ? PAST : describe(on, status.phase, behind);
  return (
    <button
      type="button"
      className="chip"
      aria-pressed={on && !past}
      onClick={toggle}
      title={past ? 'The charts are of the past. Back to now (l)' : 'Live updates (l)'}
    >
      <Shape tone={tone} />
      {word} {detail ? <span className="mut">{detail}</span> : null}
    </button>
  );
}

// However live the head of the page is, its charts and tables of a past range stand still.
const PAST = { tone: 'unk', word: 'Past range', detail: '' } as const;

// Whole seconds: `1 s`, not `1.0 s`.
const age = (seconds: number) => duration(seconds).replace('.0', '');

function describe(
  on: boolean,
  phase: string,
  behind: number | undefined,
): { tone: Tone; word: string; detail: string } {
  const text = behind === undefined ? '' : `${age(behind)} behind`;
  if (!on) return { tone: 'unk', word: 'Paused', detail: behind === undefined ? '' : `${age(behind)} old` };
  if (behind === undefined) return { tone: 'unk', word: 'Waiting', detail: 'for the first answer' };
  if (behind > STALE) return { tone: 'late', word: 'Stale', detail: `${age(behind)} old` };
  if (phase === 'open') return { tone: 'ok', word: 'Live', detail: text };
  return { tone: 'late', word: phase === 'retrying' ? 'Reconnecting' : 'Polling', detail: text };
}
