// Event time as a row of cells. Loss is hatched, because a fifth colour could not be told apart
// from the others by everyone (product.md 4.6).
import { useId } from 'react';
import type { RibbonCell } from '../api/types';
import { count, plural } from '../lib/format';
import { when, zoneName } from '../lib/time';
import { isQuiet, toneOf } from './state';

const MOST = 96;
const MINUTE = 60_000;

interface Bucket {
  /** Unix s. */
  from: number;
  state: string;
  lost: number;
}

const RANK: Record<string, number> = { lose: 5, unk: 4, late: 3, ok: 1 };
const rank = (state: string) => (isQuiet(state) ? 2 : (RANK[toneOf(state)] ?? 0));

/**
 * The range in at most 96 equal parts, none shorter than a minute. A part of many windows shows the
 * worst of them and the sum of the lost; a part without any has no state. Times in Unix ms.
 * Cells that stand for several windows are further apart than parts may be: each lasts until the next could begin.
 */
export function buckets(cells: readonly RibbonCell[], from: number, to: number): Bucket[] {
  const n = Math.max(1, Math.min(MOST, Math.ceil((to - from) / MINUTE)));
  const width = Math.max(1, to - from) / n;
  const out: Bucket[] = Array.from({ length: n }, (_, i) => ({
    from: Math.round((from + i * width) / 1000),
    state: '',
    lost: 0,
  }));
  for (const c of cells) {
    // A window that began before the range still belongs to its first part. Windows are whole seconds, parts are not: one that
    // begins within the second before a part is that part's.
    const part = out[Math.max(0, Math.min(n - 1, Math.floor((c.window * 1000 + 999 - from) / width)))] as Bucket;
    part.lost += c.lost;
    if (c.state && (!part.state || rank(c.state) > rank(part.state))) part.state = c.state;
  }
  const lasts = spacing(cells) * 1000;
  for (const part of lasts > width ? out : []) {
    const middle = part.from * 1000 + width / 2;
    if (!part.state)
      part.state = cells.find((c) => c.window * 1000 <= middle && middle < c.window * 1000 + lasts)?.state ?? '';
  }
  return out;
}

/** Seconds from a cell to the next, where they follow each other; 0 for a single one. */
function spacing(cells: readonly RibbonCell[]): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 1; i < cells.length; i++) {
    const apart = Math.abs((cells[i] as RibbonCell).window - (cells[i - 1] as RibbonCell).window);
    if (apart > 0 && apart < least) least = apart;
  }
  return Number.isFinite(least) ? least : 0;
}

/** Begin, middle and end of a ribbon, below it. `now` is the time at which it ends, where it goes on. */
export function RibbonScale({ from, to, zone, now }: { from: number; to: number; zone: string; now?: number }) {
  const today = Date.now();
  const at = (ms: number) => when(ms, zone, today);
  return (
    <div className="ribbon-scale mut">
      <span>{at(from)}</span>
      <span>{at((from + to) / 2)}</span>
      <span>
        {now === undefined ? at(to) : `now, ${at(now)}`} {zoneName(zone, to)}
      </span>
    </div>
  );
}

export function Ribbon({
  cells,
  from,
  to,
  zone,
  width = 270,
  height = 22,
  fill,
}: {
  cells: readonly RibbonCell[];
  /** What the ribbon spans, Unix ms. */
  from: number;
  to: number;
  zone: string;
  width?: number;
  height?: number;
  /** Take all the width there is. */
  fill?: boolean;
}) {
  const id = useId();
  const parts = buckets(cells, from, to);
  const step = width / Math.max(1, parts.length);
  const gap = step > 2.6 ? 1.1 : 0.4;
  return (
    <svg
      viewBox={`0 0 ${width} ${height}`}
      width={fill ? '100%' : width}
      height={height}
      preserveAspectRatio="none"
      role="img"
      aria-label={describe(parts, zone)}
      className="ribbon"
    >
      <Hatch id={id} />
      {parts.map((c, i) => {
        const tone = c.state ? (isQuiet(c.state) ? 'quiet' : toneOf(c.state)) : '';
        return (
          <rect
            key={c.from}
            x={(i * step).toFixed(2)}
            y={tone === '' ? height / 2 - 1 : 0}
            width={Math.max(0.6, step - gap).toFixed(2)}
            height={tone === '' ? 2 : height}
            rx={step > 3 ? 1.5 : 0}
            fill={
              tone === 'lose'
                ? `url(#${id})`
                : tone === 'late'
                  ? 'var(--late)'
                  : tone === 'unk'
                    ? 'none'
                    : tone === 'ok'
                      ? 'var(--okb)'
                      : tone === 'quiet'
                        ? 'var(--unkb)'
                        : 'var(--line)'
            }
            stroke={tone === 'unk' ? 'var(--unk)' : undefined}
            strokeDasharray={tone === 'unk' ? '2 1.5' : undefined}
            opacity={tone === 'late' ? 0.75 : undefined}
          >
            <title>{`${when(c.from * 1000, zone, Date.now())}: ${c.state ? c.state.replace(/_/g, ' ').toLowerCase() : 'no data'}${c.lost > 0 ? `, ${count(c.lost)} lost` : ''}`}</title>
          </rect>
        );
      })}
    </svg>
  );
}

export function Hatch({ id }: { id: string }) {
  return (
    <defs>
      <pattern id={id} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width="5" height="5" fill="var(--loseb)" />
        <rect width="2.200" height="5" fill="var(--lose)" />
      </pattern>
    </defs>
  );
}

function describe(parts: readonly Bucket[], zone: string): string {
  const losing = parts.filter((p) => p.lost > 0);
  const unknown = parts.filter((p) => p.state && !isQuiet(p.state) && toneOf(p.state) === 'unk').length;
  if (parts.every((p) => !p.state)) return 'no windows in this range';
  const tail = unknown > 0 ? `; ${plural(unknown, 'part')} unknown` : '';
  if (losing.length === 0) return `no loss in ${plural(parts.length, 'part')} of the range${tail}`;
  return `loss in ${losing.length} of ${plural(parts.length, 'part')} of the range, first ${when((losing[0] as Bucket).from * 1000, zone, Date.now())}${tail}`;
}
