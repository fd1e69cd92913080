// The map: stages, queues, what flows between them, and the one node that holds the data up.
import { useEffect, useMemo, useRef, useState } from 'react';
import type { Edge, FlowNode } from '../../api/types';
import { Hatch } from '../../components/ribbon';
import { toneOf } from '../../components/state';
import { count, duration, rate, readAgo } from '../../lib/format';
import { type Box, place } from './layout';

const HEIGHT = 56;
const GAP = 66;
/** Where a lag stands under the arrow it needs more room. */
const WIDE = 92;
const AGE = 34;
const SMALLEST = 0.87;

const letters = (s: string, per: number) => s.length * per;

const widthOf = (n: FlowNode) =>
  Math.round(
    Math.min(
      230,
      Math.max(112, letters(n.name, 7.3) + 36, letters(n.detail ?? '', 6.4) + 34) + (n.kind === 'queue' ? 16 : 0),
    ),
  );

interface Props {
  /** When the page was made, Unix milliseconds. */
  at: number;
  nodes: readonly FlowNode[];
  edges: readonly Edge[];
  chosen: string;
  choose: (id: string) => void;
}

export function FlowMap({ at, nodes, edges, chosen, choose }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const [room, setRoom] = useState(0);
  useEffect(() => {
    if (!host.current) return;
    const observer = new ResizeObserver(([entry]) => setRoom(entry?.contentRect.width ?? 0));
    observer.observe(host.current);
    return () => observer.disconnect();
  }, []);
  const shape =
    nodes.map((n) => `${n.id}|${widthOf(n)}|${n.stuck}`).join('\n') +
    edges.map((e) => `${e.from}>${e.to}${lagText(e) ? ' lag' : ''}`).join('\n');
  // biome-ignore lint/correctness/useExhaustiveDependencies: places change with the shape, not with each number
  const placed = useMemo(
    () =>
      place(
        nodes.map((n) => ({ id: n.id, width: widthOf(n), height: n.stuck ? HEIGHT + 16 : HEIGHT })),
        edges,
        (column, at) => (edges.some((e) => at.get(e.from) === column && lagText(e)) ? WIDE : GAP),
        room - 4,
      ),
    [shape, room],
  );
  // On a narrow window the stuck or losing node must be in sight without looking for it.
  const worst = nodes.find((n) => n.stuck) ?? nodes.find((n) => n.state === 'LOSING');
  const stuck = placed.boxes.get(worst?.id ?? '');
  const stuckAt = stuck ? Math.round((stuck.x + stuck.width / 2) * SMALLEST) : -1;
  useEffect(() => {
    const h = host.current;
    if (h && stuckAt >= 0 && h.scrollWidth > h.clientWidth) h.scrollLeft = stuckAt - h.clientWidth / 2;
  }, [stuckAt]);
  // A little smaller is better than scrolling; much smaller could not be read.
  const scale = room > 0 ? Math.max(SMALLEST, Math.min(1, room / placed.width)) : 1;
  const fastest = Math.max(1e-9, ...edges.map((e) => e.rate ?? 0));
  const single = nodes.every(
    (a) => nodes.filter((b) => placed.boxes.get(b.id)?.column === placed.boxes.get(a.id)?.column).length === 1,
  );
  const oldest = Math.max(0, ...nodes.map((n) => n.age ?? 0));
  return (
    <div
      className="map-scroll"
      ref={host}
      tabIndex={0}
      role="region"
      aria-label="Map of the pipeline, scrolls sideways"
    >
      <svg
        className="map"
        width={placed.width * scale}
        height={(placed.height + AGE + 36) * scale}
        viewBox={`0 -22 ${placed.width} ${placed.height + AGE + 36}`}
        role="group"
        aria-label={`Map: ${nodes.map((n) => n.name).join(', ')}`}
      >
        <Hatch id="map-hatch" />
        {edges.map((e) => {
          const a = placed.boxes.get(e.from);
          const b = placed.boxes.get(e.to);
          return a && b ? <Arrow key={e.id} at={at} edge={e} a={a} b={b} share={(e.rate ?? 0) / fastest} /> : null;
        })}
        {nodes.map((n) => {
          const box = placed.boxes.get(n.id);
          return box ? (
            <Place
              key={n.id}
              node={n}
              box={box}
              on={n.id === chosen}
              choose={choose}
              ageBelow={single ? placed.height + 22 : box.y + box.height + 18}
              oldest={oldest}
            />
          ) : null;
        })}
        <text className="m" x="1" y={placed.height + AGE + 10}>
          Age of the data at each hop
        </text>
      </svg>
    </div>
  );
}

const lagText = (e: Edge) => (e.lag?.seconds != null && e.lag.seconds >= 1 ? `lag ${duration(e.lag.seconds)}` : '');

function Arrow({ at, edge, a, b, share }: { at: number; edge: Edge; a: Box; b: Box; share: number }) {
  const y1 = a.y + a.height / 2;
  const y2 = b.y + b.height / 2;
  const x1 = a.x + a.width;
  const x2 = b.x;
  const back = x2 <= x1;
  const tone = toneOf(edge.state);
  const late = tone === 'late';
  const colour = late
    ? 'var(--late)'
    : tone === 'lose'
      ? 'var(--lose)'
      : tone === 'unk' && edge.state !== 'IDLE'
        ? 'var(--unk)'
        : 'var(--s1)';
  const width = 2 + 5 * Math.sqrt(Math.min(1, share));
  const bend = Math.max(30, Math.abs(x2 - x1) / 2);
  const path = back
    ? `M${x1} ${y1}C${x1 + 60} ${y1 + 90} ${x2 - 60} ${y2 + 90} ${x2 - 8} ${y2}`
    : Math.abs(y1 - y2) < 1
      ? `M${x1} ${y1}H${x2 - 8}`
      : `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 8} ${y2}`;
  const straight = Math.abs(y1 - y2) < 1;
  // The label of a bent edge stands at its target, where the edges of a fan-out have come apart.
  const lx = straight ? (x1 + x2) / 2 - 3 : x2 - 34;
  const ly = straight ? y1 - 11 : y2 - 11;
  const lag = lagText(edge);
  const notes = [
    edge.rate == null ? 'rate not known' : `${rate(edge.rate)} per second`,
    edge.lag ? `lag ${duration(edge.lag.seconds)}` : '',
    readAgo(at, edge.lag?.at),
    edge.lost > 0 ? `${count(edge.lost)} lost in 24 h` : '',
  ].filter(Boolean);
  return (
    <g>
      <title>{notes.join(', ')}</title>
      <path
        d={path}
        fill="none"
        stroke={tone === 'lose' ? 'url(#map-hatch)' : colour}
        strokeWidth={tone === 'lose' ? Math.max(7, width) : width}
        opacity={tone === 'lose' ? 1 : 0.55}
        strokeDasharray={tone === 'unk' && edge.state !== 'IDLE' ? '4 4' : undefined}
      />
      <path d={`M${x2 - 9} ${y2 - 6}l9 6-9 6Z`} fill={colour} />
      <text className="m halo" x={lx} y={ly} textAnchor="middle">
        {edge.rate == null ? '?' : `${rate(edge.rate)}/s`}
      </text>
      {lag ? (
        <text className={late ? 'late' : 'm'} x={lx} y={(straight ? y1 : y2) + 20} textAnchor="middle">
          {lag}
        </text>
      ) : null}
      {edge.lost > 0 ? (
        <text className="lose" x={lx} y={(straight ? y1 : y2) + (lag ? 34 : 20)} textAnchor="middle">
          {rate(edge.lost)} lost
        </text>
      ) : null}
    </g>
  );
}

const KINDS: Record<string, string> = { source: 'source', stage: 'stage', queue: 'queue', sink: 'sink' };

function Place({
  node,
  box,
  on,
  choose,
  ageBelow,
  oldest,
}: {
  node: FlowNode;
  box: Box;
  on: boolean;
  choose: (id: string) => void;
  ageBelow: number;
  oldest: number;
}) {
  const { x, y, width: w, height: h } = box;
  const tone = toneOf(node.state);
  const plain = tone === 'ok' || node.state === 'IDLE';
  const stroke = plain ? 'var(--edge)' : `var(--${tone})`;
  const fill = plain ? 'var(--panel)' : `var(--${tone}b)`;
  const dash = tone === 'unk' && !plain ? '4 3' : undefined;
  const line = node.stuck || on ? 2.2 : 1.4;
  // The name is what is drawn inside; this is what the drawing says besides.
  const said = [
    KINDS[node.kind] ?? node.kind,
    node.state,
    node.stuck ? 'holds the data up' : '',
    node.age == null ? 'age of the data not known' : `data ${duration(node.age)} old`,
    node.lost > 0 ? `${count(node.lost)} lost in 24 h` : '',
  ];
  return (
    <g
      className="node"
      role="button"
      tabIndex={0}
      aria-pressed={on}
      aria-description={said.filter(Boolean).join(', ')}
      onClick={() => choose(on ? '' : node.id)}
      onKeyDown={(e) => {
        if (e.key !== 'Enter' && e.key !== ' ') return;
        e.preventDefault();
        e.stopPropagation();
        choose(on ? '' : node.id);
      }}
    >
      {node.kind === 'queue' ? (
        <>
          <path
            d={`M${x + 10} ${y}h${w - 20}a10 ${h / 2} 0 0 1 0 ${h}h-${w - 20}a10 ${h / 2} 0 0 1 0-${h}Z`}
            fill={fill}
            stroke={stroke}
            strokeWidth={line}
            strokeDasharray={dash}
          />
          <path d={`M${x + w - 10} ${y}a10 ${h / 2} 0 0 0 0 ${h}`} fill="none" stroke={stroke} strokeWidth="1.200" />
        </>
      ) : (
        <rect
          x={x}
          y={y}
          width={w}
          height={h}
          rx="9"
          fill={fill}
          stroke={stroke}
          strokeWidth={line}
          strokeDasharray={dash}
        />
      )}
      {on ? (
        <rect
          x={x - 4}
          y={y - 4}
          width={w + 8}
          height={h + 8}
          rx="12"
          fill="none"
          stroke="var(--acc)"
          strokeWidth="1.500"
        />
      ) : null}
      <text
        x={x + w / 2 - (node.kind === 'queue' ? 4 : 0)}
        y={y + h / 2 - (node.detail ? 3 : -4)}
        textAnchor="middle"
        className="name"
      >
        {clip(node.name, w)}
      </text>{' '}
      {node.detail ? (
        <text className="m" x={x + w / 2 - (node.kind === 'queue' ? 4 : 0)} y={y + h / 2 + 14} textAnchor="middle">
          {clip(node.detail, w)}
        </text>
      ) : null}{' '}
      {plain ? null : (
        <text className={`${tone} word`} x={x + w / 2} y={y - 6} textAnchor="middle">
          {node.stuck ? 'STUCK HERE' : node.state}
        </text>
      )}{' '}
      <text
        className={node.stuck ? `${tone} strong` : oldest > 1 && node.age === oldest ? 'strong' : 'm'}
        x={x + w / 2}
        y={ageBelow}
        textAnchor="middle"
      >
        {node.age == null ? '?' : duration(node.age)}
      </text>
    </g>
  );
}

function clip(text: string, width: number): string {
  const most = Math.floor((width - 20) / 6.3);
  return text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text;
}
