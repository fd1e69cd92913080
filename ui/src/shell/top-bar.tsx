import { useNow } from '../api/hooks';
import { list } from '../api/types';
import { percent } from '../lib/format';
import { toggleTheme, useTheme } from '../state/theme';
import type { SetView } from '../state/use-view';
import type { View } from '../state/view';
import { LiveChip, useStale } from './live-chip';
import { RangeChip } from './range-chip';

/** Time, live, completeness, search: the same on each page. */
export function TopBar({
  view,
  set,
  fallback,
  palette,
}: {
  view: View;
  set: SetView;
  fallback: string;
  palette: () => void;
}) {
  const theme = useTheme();
  return (
    <header className="top">
      <RangeChip view={view} set={set} fallback={fallback} />
      <LiveChip on={view.live} toggle={() => set({ live: !view.live })} />
      <CompletenessChip live={view.live} />
      <span className="grow" />
      <button
        type="button"
        className="chip palette-chip"
        style={{ width: 250, justifyContent: 'space-between' }}
        onClick={palette}
      >
        <span className="mut">Search or run a command</span>
        <kbd>Ctrl K</kbd>
      </button>
      <button type="button" className="chip" onClick={toggleTheme} title="Dark or light (d)">
        {theme === 'dark' ? 'Light' : 'Dark'}
      </button>
    </header>
  );
}

function CompletenessChip({ live }: { live: boolean }) {
  const c = useNow(live).data?.completeness;
  const stale = useStale(live);
  const missing = list(c?.missing);
  const title = missing.length > 0 ? missing.join(' ') : 'Share of the expected telemetry that arrived';
  return (
    <span className="chip" title={title}>
      <span>Telemetry</span>
      {stale || c?.share == null ? (
        <span className="mut">not known</span>
      ) : (
        <span className={c.share < 0.99 ? 'warn' : undefined}>{percent(c.share)}</span>
      )}
    </span>
  );
}
