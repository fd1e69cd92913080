// One edge of the map: an arrow as thick as what flows, what is known of it beside the line.
import type { Edge, FlowNode } from '../../api/types';
import { toneOf } from '../../components/state';
import { count, duration, rate, readAgo } from '../../lib/format';
import type { Box } from './layout';
import { CURVE, route, type Side, sideOf } from './route';

/** An edge, and what its place among the others says of it. */
export interface Way {
  edge: Edge;
  side: Side;
  /** Records per second of the stage, of which this branch gets a part that nobody counts. */
  partOf?: number;
  from: string;
  to: string;
}

/** Rates are counted per stage: of several branches only the sum is known. */
export function waysOf(nodes: readonly FlowNode[], edges: readonly Edge[]): Way[] {
  const outs = new Map<string, number>();
  const ins = new Map<string, number>();
  for (const e of edges) {
    outs.set(e.from, (outs.get(e.from) ?? 0) + 1);
    ins.set(e.to, (ins.get(e.to) ?? 0) + 1);
  }
  const byId = new Map(nodes.map((n) => [n.id, n]));
  return edges.map((edge) => {
    const source = byId.get(edge.from);
    const branches = outs.get(edge.from) ?? 0;
    const whole =
      edge.rate == null && branches > 1 && source?.kind !== 'queue' && toneOf(edge.state) !== 'unk'
        ? source?.out
        : null;
    return {
      edge,
      side: sideOf(branches, ins.get(edge.to) ?? 0),
      ...(whole == null ? {} : { partOf: whole }),
      from: source?.name ?? edge.from,
      to: byId.get(edge.to)?.name ?? edge.to,
    };
  });
}

const lagText = (e: Edge) => (e.lag?.seconds != null && e.lag.seconds >= 1 ? `lag ${duration(e.lag.seconds)}` : '');
const isUnknown = (e: Edge) => toneOf(e.state) === 'unk' && e.state !== 'IDLE';

/** Widths of the texts as they are at most, so that the map stands still while figures move. */
const LABELS = { rate: 56, part: 104, lag: 82, lost: 106 };

/** The width of the widest text beside an edge. */
export const labelOf = ({ edge, partOf }: Way): number =>
  Math.max(
    partOf === undefined ? LABELS.rate : LABELS.part,
    lagText(edge) ? LABELS.lag : 0,
    edge.lost > 0 ? LABELS.lost : 0,
  );

/** The room an edge wants between its boxes. */
export const roomOf = (way: Way): number => labelOf(way) + (way.side === 'middle' ? 10 : CURVE + 24);

/** What stands beside an edge. */
export function labelsOf({ edge, partOf }: Way): { rate: string; lag: string; lost: string } {
  return {
    rate:
      edge.rate != null
        ? `${rate(edge.rate)}/s`
        : partOf !== undefined
          ? `part of ${rate(partOf)}/s`
          : isUnknown(edge)
            ? '?'
            : '',
    lag: lagText(edge),
    lost: edge.lost > 0 ? `${rate(edge.lost)} lost, 24 h` : '',
  };
}

/** The name of an edge as a button: what stands beside it, as whoever speaks to the page reads it, and what more is known. */
export function nameOf(at: number, way: Way): string {
  const { edge } = way;
  const labels = labelsOf(way);
  const more = [
    isUnknown(edge) ? 'state not known' : '',
    edge.lag && !labels.lag ? (edge.lag.seconds == null ? 'lag not known' : `lag ${duration(edge.lag.seconds)}`) : '',
    readAgo(at, edge.lag?.at),
    edge.lost > 0 ? `${count(edge.lost)} lost in 24 h` : '',
  ];
  return [
    `${way.from} → ${way.to}: ${[labels.rate, labels.lag, labels.lost].filter(Boolean).join(' ')}`,
    ...more.filter(Boolean),
  ].join(', ');
}

/** All that is known of an edge, in words. */
export function saysOf(at: number, { edge, partOf }: Way): string {
  return [
    edge.rate != null
      ? `${rate(edge.rate)} per second`
      : partOf === undefined
        ? 'rate not known'
        : `part of ${rate(partOf)} per second, counted for all branches together`,
    isUnknown(edge) ? 'state not known' : '',
    edge.lag ? (edge.lag.seconds == null ? 'lag not known' : `lag ${duration(edge.lag.seconds)}`) : '',
    readAgo(at, edge.lag?.at),
    edge.lost > 0 ? `${count(edge.lost)} lost in 24 h` : '',
  ]
    .filter(Boolean)
    .join(', ');
}

interface Props {
  /** When the page was made, Unix milliseconds. */
  at: number;
  way: Way;
  a: Box;
  b: Box;
  /** Of the fastest edge. */
  share: number;
  /** Shows what is known of the node it comes from, its edges among that. */
  open: () => void;
}

export function Arrow({ at, way, a, b, share, open }: Props) {
  const { edge } = way;
  const tone = toneOf(edge.state);
  const colour =
    tone === 'late' ? 'var(--late)' : tone === 'lose' ? 'var(--lose)' : isUnknown(edge) ? 'var(--unk)' : 'var(--s1)';
  // A width says how much flows; where nobody knows, the line is thin and dashed.
  const unmeasured = edge.rate == null;
  const width = unmeasured ? 2 : 2 + 5 * Math.sqrt(Math.min(1, share));
  const { path, x, y, anchor } = route(a, b, way.side, labelOf(way));
  const { rate: label, lag, lost } = labelsOf(way);
  const tip = { x: b.x, y: b.y + b.height / 2 };
  const drawn = (
    <>
      <title>{saysOf(at, way)}</title>
      <path
        d={path}
        fill="none"
        stroke={tone === 'lose' ? 'url(#map-hatch)' : colour}
        strokeWidth={tone === 'lose' ? Math.max(7, width) : width}
        opacity={tone === 'lose' ? 1 : unmeasured ? 0.85 : 0.55}
        strokeDasharray={tone !== 'lose' && (unmeasured || isUnknown(edge)) ? '4 4' : undefined}
      />
      <path d={`M${tip.x - 9} ${tip.y - 6}l9 6-9 6Z`} fill={colour} />
      <text className="m halo" x={x} y={y - 11} textAnchor={anchor}>
        {label}
      </text>{' '}
      {lag ? (
        <text className={tone === 'late' ? 'late halo' : 'm halo'} x={x} y={y + 20} textAnchor={anchor}>
          {lag}
        </text>
      ) : null}{' '}
      {lost ? (
        <text className="lose halo" x={x} y={y + (lag ? 34 : 20)} textAnchor={anchor}>
          {lost}
        </text>
      ) : null}
    </>
  );
  // What is plain by the figures beside it needs no stop on the way through the page.
  if (!lag && edge.lost === 0 && (tone === 'ok' || edge.state === 'IDLE')) return <g>{drawn}</g>;
  return (
    <g
      className="edge"
      role="button"
      tabIndex={0}
      aria-label={nameOf(at, way)}
      onClick={open}
      onKeyDown={(e) => {
        if (e.key !== 'Enter' && e.key !== ' ') return;
        e.preventDefault();
        e.stopPropagation();
        open();
      }}
    >
      {drawn}
    </g>
  );
}
