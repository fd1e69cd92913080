// A small line of lag over the last hour. Values below zero are "not known" and leave a hole.
import { duration } from '../lib/format';
import { toneOf } from './state';

const W = 96;
const H = 24;
/** Seconds that fill the height at least. */
const FLAT = 1;

export function Sparkline({ values, state, trend }: { values: readonly number[]; state: string; trend?: string }) {
  const known = values.filter((v) => v >= 0);
  if (known.length < 2) return <span className="mut">–</span>;
  const max = Math.max(...known);
  // A lag of some milliseconds is flat: drawn to its own height it would look like trouble.
  const full = Math.max(max, FLAT);
  const tone = toneOf(state);
  const colour = tone === 'late' ? 'var(--late)' : tone === 'unk' ? 'var(--unk)' : 'var(--s1)';
  let path = '';
  let pen = false;
  values.forEach((v, i) => {
    if (v < 0) {
      pen = false;
      return;
    }
    const x = ((i * W) / Math.max(1, values.length - 1)).toFixed(1);
    const y = (H - 2 - ((H - 4) * v) / full).toFixed(1);
    path += `${pen ? 'L' : 'M'}${x} ${y}`;
    pen = true;
  });
  const last = values[values.length - 1] ?? -1;
  const label = `lag over the last hour: at most ${duration(max)}, now ${last < 0 ? 'not known' : duration(last)}${trend && trend !== 'unknown' ? `, ${trend}` : ''}`;
  return (
    <svg width={W} height={H} role="img" aria-label={label}>
      <path
        d={path}
        fill="none"
        stroke={colour}
        strokeWidth="1.500"
        strokeDasharray={tone === 'unk' ? '3 2' : undefined}
      />
    </svg>
  );
}
