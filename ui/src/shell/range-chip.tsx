import { useEffect, useId, useRef, useState } from 'react';
import { isRelative, isWall, parseTime, rangeLabel, resolve, spanText, zoneName } from '../lib/time';
import type { SetView } from '../state/use-view';
import { isPast, type View } from '../state/view';

const QUICK = ['5m', '15m', '1h', '3h', '6h', '24h', '7d'];

/** On pages that read no range: the zone of their times, and a click changes it. */
export function ZoneChip({ zone, toggle }: { zone: string; toggle: () => void }) {
  return (
    <button
      type="button"
      className="chip"
      onClick={toggle}
      title="This page reads no time range. UTC or local time (u)"
    >
      <span className="mut">Times in</span> {zoneName(zone, Date.now())}
    </button>
  );
}

/** The time range with its zone, and the menu that changes them. */
export function RangeChip({ view, set, fallback }: { view: View; set: SetView; fallback: string }) {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const from = view.from || fallback;
  const to = view.to || 'now';
  useEffect(() => {
    if (!open) return;
    const outside = (e: Event) => {
      if (!box.current?.contains(e.target as Node)) setOpen(false);
    };
    addEventListener('pointerdown', outside);
    return () => removeEventListener('pointerdown', outside);
  }, [open]);
  const close = () => {
    setOpen(false);
    box.current?.querySelector('button')?.focus();
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: only hears Escape bubbling up from the menu
    <div
      className="anchor"
      ref={box}
      onKeyDown={(e) => {
        if (e.key === 'Escape' && open) {
          e.stopPropagation();
          close();
        }
      }}
    >
      <button type="button" className="chip" aria-expanded={open} aria-haspopup="dialog" onClick={() => setOpen(!open)}>
        {rangeLabel(from, to, view.tz)}{' '}
        <span className="mut">{zoneName(view.tz, resolve(from, to, Date.now()).to)}</span> <span aria-hidden>▾</span>
      </button>
      {open ? <Menu view={view} set={set} from={from} to={to} close={close} /> : null}
    </div>
  );
}

function Menu({
  view,
  set,
  from,
  to,
  close,
}: {
  view: View;
  set: SetView;
  from: string;
  to: string;
  close: () => void;
}) {
  const [a, setA] = useState(from);
  const [b, setB] = useState(to);
  const id = useId();
  const now = Date.now();
  // A reader who looked at the past and chooses a range up to now is back in the present.
  const live = view.live || isPast(view);
  const ta = parseTime(a, now, view.tz);
  const tb = parseTime(b, now, view.tz);
  const wrong =
    ta === undefined || tb === undefined
      ? 'Write now-1h, now, 2026-11-25 14:00 or Unix time.'
      : ta >= tb
        ? 'The start must lie before the end.'
        : '';
  return (
    <div className="menu" role="dialog" aria-label="Time range">
      <div className="row" style={{ gap: 6 }} role="group" aria-label="Quick ranges">
        {QUICK.map((q, i) => (
          <button
            type="button"
            key={q}
            className="btn"
            // biome-ignore lint/a11y/noAutofocus: the menu was opened by the reader just now
            autoFocus={i === 0}
            aria-pressed={from === `now-${q}` && to === 'now'}
            onClick={() => {
              set({ from: `now-${q}`, to: 'now', live }, 'push');
              close();
            }}
          >
            {q}
          </button>
        ))}
      </div>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          if (wrong) return;
          // A moment, not a clock: another zone must show the same range.
          const text = (t: string, ms: number | undefined) => (isWall(t) ? String(ms) : t.trim());
          set({ from: text(a, ta), to: text(b, tb), live: isRelative(b.trim()) && live }, 'push');
          close();
        }}
        style={{ display: 'grid', gap: 8 }}
      >
        <label className="field">
          <span className="mut">From</span>
          <input
            value={a}
            onChange={(e) => setA(e.target.value)}
            style={{ flex: 1 }}
            aria-describedby={id}
            spellCheck={false}
          />
        </label>
        <label className="field">
          <span className="mut">To</span>
          <input
            value={b}
            onChange={(e) => setB(e.target.value)}
            style={{ flex: 1 }}
            aria-describedby={id}
            spellCheck={false}
          />
        </label>
        <div id={id} className={wrong ? 'warn' : 'mut'} role="status">
          {wrong || spanText(ta ?? 0, tb ?? 0, view.tz)}
        </div>
        <div className="mut">Relative ranges stay relative in the link.</div>
        <div className="row">
          <button type="submit" className="btn p" disabled={wrong !== ''}>
            Show
          </button>
          <span className="grow" />
          <button
            type="button"
            className="btn"
            aria-pressed={view.tz === 'UTC'}
            onClick={() => set({ tz: view.tz === 'UTC' ? 'local' : 'UTC' })}
          >
            {view.tz === 'UTC' ? `Use ${zoneName('local', now)}` : 'Use UTC'}
          </button>
        </div>
      </form>
    </div>
  );
}
