// The one wrapper over the drawing library: time on x, numbers on y, holes where nothing is known,
// marks for changes, and a table of the same numbers for those who do not see lines.
import { type ReactNode, useEffect, useId, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { durationTick } from '../lib/format';
import { full, zoneName } from '../lib/time';
import { useTheme } from '../state/theme';
import { axisEnd, tickLabels } from './axis';
import './chart.css';
import { css, drawMarks, type Mark } from './marks';

export interface Line {
  name: string;
  /** CSS custom property of the colour, `--s1`. */
  colour: string;
  dash?: number[];
  values: readonly (number | null | undefined)[];
  /** The stated ± error of each value, drawn as a faint band. */
  bounds?: readonly (number | null | undefined)[];
}

interface Props {
  title: string;
  sub?: string;
  /** Unix ms, rising. */
  times: readonly number[];
  lines: readonly Line[];
  format: (v: number | null | undefined) => string;
  /** Values are seconds: the axis then has steps of a clock. */
  seconds?: boolean;
  zone: string;
  marks?: readonly Mark[];
  height?: number;
  /** Show the names; off when the title says it all. */
  legend?: boolean;
  /** The reader drew a range over the chart. */
  onRange?: (from: number, to: number) => void;
  children?: ReactNode;
}

export const PALETTE = ['--s1', '--s2', '--s3', '--s4', '--s5', '--s6', '--s7', '--s8'];
const DASHES = [undefined, [6, 3], [2, 3], [9, 3, 2, 3]];

/** Colour of the nth line, and a dash as a second code once colours repeat. */
export const look = (n: number) => ({
  colour: PALETTE[n % PALETTE.length] as string,
  dash: DASHES[Math.floor(n / PALETTE.length) % DASHES.length],
});

export function Chart(props: Props) {
  const { title, sub, lines, legend = lines.length > 1, children } = props;
  const [table, setTable] = useState(false);
  const id = useId();
  return (
    <section className="card pad chart" aria-labelledby={id}>
      <div className="row chart-head">
        <h2 id={id}>{title}</h2>
        {sub ? <span className="mut">{sub}</span> : null}
        <span className="grow" />
        {legend ? <Legend lines={lines} /> : null}
        <button type="button" className="ghost" aria-pressed={table} onClick={() => setTable(!table)}>
          {table ? 'Chart' : 'Table'}
        </button>
      </div>
      {table ? <Numbers {...props} /> : <Plot {...props} />}
      {children}
    </section>
  );
}

function Legend({ lines }: { lines: readonly Line[] }) {
  return (
    <ul className="legend">
      {lines.map((l) => (
        <li key={l.name}>
          <svg width="18" height="8" aria-hidden>
            <path d="M0 4H18" stroke={`var(${l.colour})`} strokeWidth="2" strokeDasharray={l.dash?.join(' ')} />
          </svg>
          {l.name}
        </li>
      ))}
    </ul>
  );
}

const ROWS = 60;

function Numbers({ title, times, lines, format, zone, height = 206 }: Props) {
  // Newest first; a table of thousands of rows helps nobody.
  const every = Math.max(1, Math.ceil(times.length / ROWS));
  const picked: number[] = [];
  for (let i = times.length - 1; i >= 0; i -= every) picked.push(i);
  return (
    <div
      className="scroll"
      style={{ maxHeight: height, overflowY: 'auto' }}
      tabIndex={0}
      role="region"
      aria-label={`${title}, as numbers`}
    >
      <table className="dense">
        <thead>
          <tr>
            <th scope="col" className="l">
              Time ({zoneName(zone, times.at(-1) ?? Date.now())})
            </th>
            {lines.map((l) => (
              <th scope="col" key={l.name}>
                {l.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {picked.map((i) => (
            <tr key={times[i]}>
              <td className="l">{full(times[i] as number, zone)}</td>
              {lines.map((l) => (
                <td key={l.name}>{format(l.values[i])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Plot(props: Props) {
  const { title, times, lines, zone, height = 206, marks } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const latest = useRef(props);
  latest.current = props;
  const theme = useTheme();
  const shape = lines.map((l) => `${l.name}|${l.colour}|${l.dash ?? ''}`).join('\n');

  // biome-ignore lint/correctness/useExhaustiveDependencies: data goes in below, without building anew
  useEffect(() => {
    const host = box.current;
    if (!host) return;
    const made = new uPlot(options(latest, host.clientWidth, height, zone), data(latest.current), host);
    plot.current = made;
    // Drawn before the font came, the numbers would keep the system's font until the next data.
    void document.fonts?.ready.then(() => plot.current === made && made.redraw(false, true));
    const observer = new ResizeObserver(() => made.setSize({ width: host.clientWidth, height }));
    observer.observe(host);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, zone, theme, height]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: marks are drawn by a hook that reads latest
  useEffect(() => {
    plot.current?.setData(data(latest.current));
  }, [times, lines, marks]);

  return (
    <div
      className="plot"
      ref={box}
      role="img"
      aria-label={summary(props)}
      // Tests and the stopwatch of the first chart read how many values are drawn.
      data-values={lines.reduce((n, l) => n + l.values.filter(known).length, 0)}
      style={{ height }}
      title=""
    >
      <span className="sr">{title}</span>
    </div>
  );
}

const known = (v: number | null | undefined): v is number => v != null && Number.isFinite(v);

/** What a screen reader hears instead of the lines. */
function summary({ title, lines, format, times }: Props): string {
  if (times.length === 0) return `${title}: no values in this range`;
  const said = lines.slice(0, 4).map((l) => {
    const some = l.values.filter(known);
    if (some.length === 0) return `${l.name}: not known`;
    return `${l.name}: now ${format(l.values[l.values.length - 1])}, least ${format(Math.min(...some))}, most ${format(Math.max(...some))}`;
  });
  return `${title}. ${said.join('. ')}. The button Table shows the numbers.`;
}

function data({ times, lines }: Props): uPlot.AlignedData {
  return [
    times.map((t) => t / 1000),
    ...lines.map((l) => l.values.map((v) => (known(v) ? v : null))),
  ] as uPlot.AlignedData;
}

// Steps of the time axis in seconds: those of a clock, with the even ones that a short range needs.
const TIME_STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
  2_592_000,
];

// Steps of a clock: 3 m 20 s on an axis helps nobody.
const CLOCK_STEPS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200,
  14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_419_200,
];

// Width of a letter of the axes, in px.
const LETTER = 6.2;

const endOf = ({ times, zone }: Props) => (times.length > 0 ? axisEnd(times.at(-1) as number, zone, Date.now()) : '');

function options(latest: { current: Props }, width: number, height: number, zone: string): uPlot.Options {
  const mut = css('--mut');
  const line = css('--line');
  const font = '11px Inter, system-ui, sans-serif';
  const axis = { stroke: mut, font, ticks: { show: false }, grid: { stroke: line, width: 1 } };
  const { lines } = latest.current;
  return {
    width,
    height,
    padding: [16, 8, 0, 0],
    tzDate: (ts) =>
      zone === 'local' ? new Date(ts * 1000) : uPlot.tzDate(new Date(ts * 1000), zone === 'UTC' ? 'Etc/UTC' : zone),
    legend: { show: false },
    cursor: { points: { size: 6 }, drag: { x: true, y: false, setScale: false }, y: false },
    select: { show: true, left: 0, top: 0, width: 0, height: 0 },
    scales: {
      x: { time: true },
      // From zero, and never flat on the axis: a line at 0 must be seen.
      y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.12 : 1] as [number, number] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 26,
        space: 70,
        incrs: TIME_STEPS,
        values: (u, ticks) => {
          // A label that would run into the zone at the right end is left out.
          const { min = 0, max = 1 } = u.scales.x as { min?: number; max?: number };
          const room = (t: number) => ((max - t) / (max - min || 1)) * (u.width - 50);
          const end = LETTER * endOf(latest.current).length;
          const labels = tickLabels(
            ticks.map((t) => t * 1000),
            zone,
          );
          return ticks.map((t, i) => {
            const label = labels[i] as string;
            return room(t) < end + (LETTER * label.length) / 2 + 6 ? '' : label;
          });
        },
      },
      {
        ...axis,
        size: (_u, values) => Math.max(38, 10 + LETTER * Math.max(0, ...(values ?? []).map((v) => v.length))),
        space: 34,
        ...(latest.current.seconds ? { incrs: CLOCK_STEPS } : {}),
        values: (_u, ticks) => ticks.map((v) => (latest.current.seconds ? durationTick(v) : latest.current.format(v))),
      },
    ],
    series: [
      {},
      ...lines.map((l) => ({
        label: l.name,
        stroke: css(l.colour),
        width: 1.7,
        dash: l.dash,
        spanGaps: false,
        // A value between two holes has no line: it is drawn as a point, or it would not be seen.
        points: { show: false, size: 4, fill: css(l.colour), filter: lonely },
      })),
    ],
    hooks: {
      drawAxes: [(u) => drawBounds(u, latest.current), (u) => drawEnd(u, endOf(latest.current), mut, font)],
      draw: [(u) => drawMarks(u, latest.current.marks ?? [], mut, font)],
      setSelect: [
        (u) => {
          if (u.select.width < 4) return;
          const from = u.posToVal(u.select.left, 'x') * 1000;
          const to = u.posToVal(u.select.left + u.select.width, 'x') * 1000;
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          latest.current.onRange?.(Math.round(from), Math.round(to));
        },
      ],
    },
    plugins: [tooltip(latest, zone)],
  };
}

/** The zone of the axis, in the line of its labels. */
function drawEnd(u: uPlot, text: string, colour: string, font: string): void {
  const { ctx } = u;
  const ratio = devicePixelRatio || 1;
  ctx.save();
  ctx.font = font.replace('11px', `${11 * ratio}px`);
  ctx.fillStyle = colour;
  ctx.textAlign = 'right';
  ctx.textBaseline = 'top';
  ctx.fillText(text, u.bbox.left + u.bbox.width, u.bbox.top + u.bbox.height + 5 * ratio);
  ctx.restore();
}

/** Places of values with a hole on both sides. */
function lonely(u: uPlot, series: number): number[] | null {
  const values = u.data[series] ?? [];
  const found: number[] = [];
  for (let i = 0; i < values.length; i++)
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) found.push(i);
  return found.length > 0 ? found : null;
}

function drawBounds(u: uPlot, { lines, times }: Props): void {
  const { ctx } = u;
  for (const l of lines) {
    if (!l.bounds?.some((b) => known(b) && b > 0)) continue;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    ctx.globalAlpha = 0.16;
    ctx.fillStyle = css(l.colour);
    for (let i = 1; i < times.length; i++) {
      const v = [l.values[i - 1], l.values[i]];
      const b = [l.bounds[i - 1], l.bounds[i]];
      if (!v.every(known) || !b.every(known)) continue;
      const x = (n: number) => u.valToPos((times[i - 1 + n] as number) / 1000, 'x', true);
      const y = (n: number, sign: number) =>
        u.valToPos(Math.max(0, (v[n] as number) + sign * (b[n] as number)), 'y', true);
      ctx.beginPath();
      ctx.moveTo(x(0), y(0, 1));
      ctx.lineTo(x(1), y(1, 1));
      ctx.lineTo(x(1), y(1, -1));
      ctx.lineTo(x(0), y(0, -1));
      ctx.fill();
    }
    ctx.restore();
  }
}

/** A small box beside the cursor with the values at its time. */
function tooltip(latest: { current: Props }, zone: string): uPlot.Plugin {
  const box = document.createElement('div');
  box.className = 'plot-tip';
  box.hidden = true;
  return {
    hooks: {
      init: (u) => u.over.append(box),
      setCursor: (u) => {
        const { idx, left = -1 } = u.cursor;
        if (idx == null || left < 0) {
          box.hidden = true;
          return;
        }
        const { times, lines, format } = latest.current;
        box.hidden = false;
        box.replaceChildren();
        const head = document.createElement('div');
        head.className = 'mut';
        head.textContent = full(times[idx] ?? 0, zone);
        box.append(head);
        for (const l of lines.slice(0, 12)) {
          const row = document.createElement('div');
          row.className = 'plot-tip-row';
          const dot = document.createElement('i');
          dot.style.background = `var(${l.colour})`;
          const name = document.createElement('span');
          name.textContent = l.name;
          const number = document.createElement('b');
          number.textContent = format(l.values[idx]);
          row.append(dot, name, number);
          box.append(row);
        }
        const width = u.over.clientWidth;
        const flip = left > width / 2;
        box.style.left = flip ? '' : `${left + 12}px`;
        box.style.right = flip ? `${width - left + 12}px` : '';
      },
    },
  };
}
