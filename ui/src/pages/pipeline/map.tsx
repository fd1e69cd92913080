// The map: stages, queues, what flows between them, and the one node that holds the data up.
import { type RefObject, useEffect, useMemo, useRef, useState } from 'react';
import type { Edge, FlowNode } from '../../api/types';
import { Hatch } from '../../components/ribbon';
import { toneOf } from '../../components/state';
import { count, duration } from '../../lib/format';
import { Arrow, roomOf, waysOf } from './edge';
import { type Box, place } from './layout';
import { worstOf } from './worst';

const HEIGHT = 56;
const GAP = 66;
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
  const ways = waysOf(nodes, edges);
  const shape =
    nodes.map((n) => `${n.id}|${widthOf(n)}|${n.stuck}`).join('\n') +
    ways.map((w) => `${w.edge.from}>${w.edge.to} ${roomOf(w)}`).join('\n');
  // biome-ignore lint/correctness/useExhaustiveDependencies: places change with the shape, not with each number
  const placed = useMemo(
    () =>
      place(
        nodes.map((n) => ({ id: n.id, width: widthOf(n), height: n.stuck ? HEIGHT + 16 : HEIGHT })),
        edges,
        (column, at) => Math.max(GAP, ...ways.filter((w) => at.get(w.edge.from) === column).map(roomOf)),
        room - 4,
      ),
    [shape, room],
  );
  const cut = useCut(host, `${shape} ${room}`);
  // On a narrow window the chosen node, else the worst, must be in sight without looking for it.
  const wanted = placed.boxes.get(chosen || worstOf(nodes) || '');
  const wantedAt = wanted ? Math.round((wanted.x + wanted.width / 2) * SMALLEST) : -1;
  const before = useRef(chosen);
  useEffect(() => {
    // Who lets go of a node stays where it is.
    const letGo = before.current !== '' && chosen === '';
    before.current = chosen;
    const h = host.current;
    if (h && wantedAt >= 0 && !letGo && h.scrollWidth > h.clientWidth) h.scrollLeft = wantedAt - h.clientWidth / 2;
  }, [wantedAt, chosen]);
  // A little smaller is better than scrolling; much smaller could not be read.
  const scale = room > 0 ? Math.max(SMALLEST, Math.min(1, room / placed.width)) : 1;
  const fastest = Math.max(1e-9, ...edges.map((e) => e.rate ?? 0));
  const single = nodes.every(
    (a) => nodes.filter((b) => placed.boxes.get(b.id)?.column === placed.boxes.get(a.id)?.column).length === 1,
  );
  return (
    <div
      className={`map-scroll ${cut}`}
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
        {ways.map((w) => {
          const a = placed.boxes.get(w.edge.from);
          const b = placed.boxes.get(w.edge.to);
          return a && b ? (
            <Arrow
              key={w.edge.id}
              at={at}
              way={w}
              a={a}
              b={b}
              share={(w.edge.rate ?? 0) / fastest}
              open={() => choose(w.edge.from)}
            />
          ) : null;
        })}
        {nodes.map((n) => {
          const box = placed.boxes.get(n.id);
          return box ? (
            <Place
              key={n.id}
              node={n}
              box={box}
              on={n.id === chosen}
              end={!edges.some((e) => e.from === n.id)}
              choose={choose}
              ageBelow={single ? placed.height + 22 : box.y + box.height + 18}
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

/** Classes of the edges at which the map is cut off: they fade, as a cue that it scrolls. */
function useCut(host: RefObject<HTMLDivElement | null>, shape: string): string {
  const [cut, setCut] = useState('');
  // biome-ignore lint/correctness/useExhaustiveDependencies: measured anew when the map or its room has another size
  useEffect(() => {
    const h = host.current;
    if (!h) return;
    const measure = () => {
      const left = h.scrollLeft > 2 ? 'cut-left' : '';
      const right = h.scrollLeft + h.clientWidth < h.scrollWidth - 2 ? 'cut-right' : '';
      setCut(`${left} ${right}`.trim());
    };
    measure();
    h.addEventListener('scroll', measure, { passive: true });
    return () => h.removeEventListener('scroll', measure);
  }, [shape]);
  return cut;
}

const KINDS: Record<string, string> = { source: 'source', stage: 'stage', queue: 'queue', sink: 'sink' };

function Place({
  node,
  box,
  on,
  end,
  choose,
  ageBelow,
}: {
  node: FlowNode;
  box: Box;
  on: boolean;
  /** Nothing follows: the age of the data is that at the sink. */
  end: boolean;
  choose: (id: string) => void;
  ageBelow: number;
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
        className={node.stuck ? `${tone} strong` : end ? 'strong' : 'm'}
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
