// A share as a bar: how busy, how blocked, how full. Above `warn` it changes colour, and says so.
import { DASH, percent } from '../lib/format';

export function Meter({
  share,
  warn = 0.9,
  width = 64,
  label,
}: {
  share: number | null | undefined;
  /** From here on it is drawn as a warning. */
  warn?: number;
  width?: number;
  label?: string;
}) {
  if (share == null) return <span className="mut">{DASH}</span>;
  const high = share >= warn;
  return (
    <span className="meter" title={label}>
      <svg width={width} height="8" aria-hidden>
        <rect width={width} height="8" rx="2" fill="var(--hover)" />
        <rect
          width={width * Math.min(1, Math.max(0, share))}
          height="8"
          rx="2"
          fill={high ? 'var(--late)' : 'var(--s1)'}
        />
      </svg>
      <span className={high ? 'warn' : undefined}>{percent(share)}</span>
    </span>
  );
}
