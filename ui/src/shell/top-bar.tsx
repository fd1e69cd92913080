import { useNow } from '../api/hooks';
import { list } from '../api/types';
import { percent } from '../lib/format';
import { told } from '../lib/told';
import { toggleTheme, useTheme } from '../state/theme';
import type { SetView } from '../state/use-view';
import type { View } from '../state/view';
import { LiveChip, useStale } from './live-chip';
import { RangeChip, ZoneChip } from './range-chip';

/** Time, live, completeness, search: the same on each page. */
export function TopBar({
  view,
  set,
  fallback,
  reads,
  past,
  utc,
  liveToggle,
  palette,
}: {
  view: View;
  set: SetView;
  fallback: string;
  /** The page reads the range. */
  reads: boolean;
  /** The range that the page reads ends before now. */
  past: boolean;
  utc: () => void;
  liveToggle: () => void;
  palette: () => void;
}) {
  const theme = useTheme();
  return (
    <header className="top">
      {reads ? <RangeChip view={view} set={set} fallback={fallback} /> : <ZoneChip zone={view.tz} toggle={utc} />}
      <LiveChip on={view.live} past={past} toggle={liveToggle} />
      <CompletenessChip live={view.live} zone={view.tz} />
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

function CompletenessChip({ live, zone }: { live: boolean; zone: string }) {
  const c = useNow(live).data?.completeness;
  const stale = useStale(live);
  const missing = list(c?.missing);
  const title =
    missing.length > 0 ? told(missing.join(' '), zone, Date.now()) : 'Share of the expected telemetry that arrived';
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
