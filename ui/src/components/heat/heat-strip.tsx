// The backlog of each partition over time: skew is one dark row, a stall a dark column.
import { type KeyboardEvent, useEffect, useId, useMemo, useRef, useState } from 'react';
import type { PartitionHeat } from '../../api/types';
import { placeLabels } from '../../charts/axis';
import { count, duration, plural, rate } from '../../lib/format';
import { when, whenSeconds, zoneName } from '../../lib/time';
import { useTheme } from '../../state/theme';
import '../../charts/chart.css';
import './heat.css';
import { HeatTable } from './heat-table';
import { at, type Grid, grid, move, type Place, rowHeight, summaries } from './model';
import { CALM, paint } from './paint';

interface Props {
  heat: PartitionHeat;
  zone: string;
  /** The group is late: the dark end of the scale is the colour of lateness. */
  hot: boolean;
}

export function HeatStrip({ heat, zone, hot }: Props) {
  const [table, setTable] = useState(false);
  const g = useMemo(() => grid(heat), [heat]);
  const id = useId();
  return (
    <section className="card pad chart" aria-labelledby={id}>
      <div className="row chart-head">
        <h2 id={id}>Backlog by partition</h2>
        <span className="mut">
          {heat.destination} → {heat.group}, {duration(heat.step / 1000)} a column
          {heat.left > 0
            ? `, the ${count(g.partitions.length)} largest of ${count(g.partitions.length + heat.left)}`
            : ''}
        </span>
        <span className="grow" />
        <Scale max={heat.max} hot={hot} />
        <button type="button" className="ghost" aria-pressed={table} onClick={() => setTable(!table)}>
          {table ? 'Strip' : 'Table'}
        </button>
      </div>
      {g.times.length === 0 || g.partitions.length === 0 ? (
        <p className="mut">No offset of these partitions is known in this range.</p>
      ) : table ? (
        <HeatTable g={g} zone={zone} label={heat.destination} />
      ) : (
        <Strip g={g} zone={zone} hot={hot} label={`Backlog of ${heat.destination} by partition and time`} />
      )}
    </section>
  );
}

function Scale({ max, hot }: { max: number; hot: boolean }) {
  const colour = hot ? 'var(--late)' : `color-mix(in srgb, var(--s1) ${100 * CALM}%, var(--hover))`;
  return (
    <span className="heat-scale" aria-hidden>
      0 <i style={{ background: `linear-gradient(90deg, var(--hover), ${colour})` }} /> {rate(max)}
      <i className="unknown" /> not known
    </span>
  );
}

/** Where the times stand under the strip. */
const PLACES = [0, 0.25, 0.5, 0.75, 1];

function Strip({ g, zone, hot, label }: { g: Grid; zone: string; hot: boolean; label: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [cursor, setCursor] = useState<Place>();
  const theme = useTheme();
  const height = rowHeight(g.partitions.length) * g.partitions.length;
  useEffect(() => {
    if (!box.current) return;
    const observer = new ResizeObserver(([e]) => setWidth(e?.contentRect.width ?? 0));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the theme changes the colours that paint reads
  useEffect(() => {
    if (canvas.current && width > 0) paint(canvas.current, g, width, height, hot);
  }, [g, width, height, hot, theme]);
  const point = (x: number, y: number): Place => ({
    row: Math.min(g.partitions.length - 1, Math.max(0, Math.floor((y / height) * g.partitions.length))),
    column: Math.min(g.times.length - 1, Math.max(0, Math.floor((x / width) * g.times.length))),
  });
  const keys = (e: KeyboardEvent) => {
    const from = cursor ?? { row: 0, column: g.times.length - 1 };
    const to = e.key === 'Escape' && cursor ? undefined : move(g, from, e.key);
    if (!to && !(e.key === 'Escape' && cursor)) return;
    e.preventDefault();
    e.stopPropagation();
    setCursor(to);
  };
  const places = PLACES.map((p) => g.times[Math.floor(p * (g.times.length - 1))] as number);
  return (
    <div className="heat-body">
      <Names g={g} height={height} />
      <div
        className="heat-plot"
        ref={box}
        style={{ height }}
        role="application"
        aria-roledescription="heat map"
        tabIndex={0}
        aria-label={`${label}. ${describe(g, zone)} Arrow keys move the cursor; the button Table shows the numbers.`}
        data-cells={g.cells.length}
        onKeyDown={keys}
        onPointerMove={(e) => {
          const r = e.currentTarget.getBoundingClientRect();
          setCursor(point(e.clientX - r.left, e.clientY - r.top));
        }}
        onPointerLeave={() => setCursor(undefined)}
        onBlur={() => setCursor(undefined)}
      >
        <canvas ref={canvas} aria-hidden />
        {cursor && cursor.row < g.partitions.length && cursor.column < g.times.length ? (
          <span className="heat-cursor" style={cell(g, cursor)} />
        ) : null}
      </div>
      <div className="heat-times" aria-hidden>
        {placeLabels(places, zone, Date.now()).map((label, i) => (
          <span key={PLACES[i]}>
            {label} {i === PLACES.length - 1 ? zoneName(zone, places[i] as number) : ''}
          </span>
        ))}
      </div>
      <div className="heat-times heat-says" role="status">
        {cursor ? says(g, cursor, zone) : ''}
      </div>
    </div>
  );
}

const share = (n: number, all: number) => `${(100 * n) / all}%`;

const cell = (g: Grid, p: Place) => ({
  left: share(p.column, g.times.length),
  top: share(p.row, g.partitions.length),
  width: share(1, g.times.length),
  height: share(1, g.partitions.length),
});

function says(g: Grid, p: Place, zone: string): string {
  const v = at(g, p.row, p.column);
  const records = v < 0 ? 'not known' : plural(Math.round(v), 'unread record');
  return `Partition ${g.partitions[p.row] ?? '?'} at ${whenSeconds(g.times[p.column] ?? 0, zone, Date.now())}: ${records}`;
}

/** The strip in one sentence. */
function describe(g: Grid, zone: string): string {
  const worst = summaries(g).reduce((a, b) => (b.now > a.now ? b : a));
  if (worst.now < 0) return 'The present backlog is not known.';
  return `${plural(g.partitions.length, 'partition')}; the largest backlog now is ${count(worst.now)} in partition ${worst.partition}, its most was ${count(worst.most)} at ${when(worst.mostAt, zone, Date.now())}.`;
}

/** Names of the rows, as many as have room. */
function Names({ g, height }: { g: Grid; height: number }) {
  const each = height / g.partitions.length;
  const every = Math.max(1, Math.ceil(14 / each));
  return (
    <div
      className="heat-names"
      style={{ height, width: `${Math.max(2, ...g.partitions.map((p) => p.length))}ch` }}
      aria-hidden
    >
      {g.partitions.map((p, i) =>
        i % every === 0 ? (
          <span key={p} style={{ top: (i + 0.5) * each }}>
            {p}
          </span>
        ) : null,
      )}
    </div>
  );
}
