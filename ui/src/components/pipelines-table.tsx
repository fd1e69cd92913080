import { memo } from 'react';
import { list, type PipelineRow } from '../api/types';
import { bound, count, DASH, duration, rate } from '../lib/format';
import { DrainCell, LossInCell } from './drain';
import { Go } from './link';
import { useNarrow } from './narrow';
import { Scroll } from './scroll';
import { type Column, SortHead } from './sort-head';
import { Sparkline } from './sparkline';
import { State } from './state';
import { VirtualTable } from './virtual-table';

export type SortKey = '' | 'name' | 'lag' | 'drain' | 'messages' | 'lossin' | 'freshness' | 'in' | 'out' | 'lost';

interface Props {
  rows: readonly PipelineRow[];
  cursor: number;
  open: (row: PipelineRow) => void;
  sort: SortKey;
  /** Without it the columns do not sort. */
  onSort?: (key: SortKey) => void;
}

const MANY = 200;
const ROW = 42;
/** With the line that a narrow screen has below the name; as in `tr.brief`. */
const BRIEF = 68;

const COLUMNS: readonly Column<SortKey>[] = [
  { name: 'State', key: '', left: true, says: 'worst first' },
  { name: 'Pipeline', key: 'name', left: true, says: 'by name' },
  { name: 'At sink', key: 'freshness', title: 'Age of the newest data at the sink' },
  { name: 'Lag', key: 'lag', bounded: true },
  { name: 'Last hour', left: true },
  { name: 'Drains in', key: 'drain', says: 'never first' },
  { name: 'Unread', key: 'messages', title: 'Records that wait, of the slowest stage' },
  { name: 'Deletes unread in', key: 'lossin', says: 'soonest first', title: 'Until retention deletes unread data' },
  { name: 'Slowest stage', left: true },
  { name: 'In /s', key: 'in' },
  { name: 'Out /s', key: 'out' },
  { name: 'Lost 24 h', key: 'lost' },
];

/** The table of pipelines; past 200 rows only what is in sight is drawn. */
export function PipelinesTable({ rows, cursor, open, sort, onSort }: Props) {
  const height = useNarrow() ? BRIEF : ROW;
  const head = <SortHead columns={COLUMNS} sort={sort} onSort={onSort} />;
  const row = (i: number) => {
    const r = rows[i] as PipelineRow;
    return <Row key={r.id} row={r} index={i} on={i === cursor} open={open} />;
  };
  if (rows.length > MANY)
    return (
      <VirtualTable
        // Heights are remembered: other heights, another list.
        key={height}
        label="Pipelines"
        className="wide"
        count={rows.length}
        height={height}
        cursor={cursor}
        head={head}
        row={row}
      />
    );
  return (
    <Scroll label="Pipelines">
      <table aria-label="Pipelines" className="wide">
        {head}
        <tbody>{rows.map((_, i) => row(i))}</tbody>
      </table>
    </Scroll>
  );
}

const Row = memo(function Row({
  row,
  index,
  on,
  open,
}: {
  row: PipelineRow;
  index: number;
  on: boolean;
  open: (row: PipelineRow) => void;
}) {
  const lag = row.lag;
  return (
    <tr
      className={on ? 'go sel brief' : 'go brief'}
      data-row={index}
      aria-selected={on}
      onClick={(e) => {
        if (!(e.target as HTMLElement).closest('a')) open(row);
      }}
    >
      <td className="l">
        <State state={row.state} />
      </td>
      <td className="l">
        <Go to={`/p/${encodeURIComponent(row.id)}`} className="name">
          {row.id}
        </Go>
        <Origin declared={row.declared} />
        <Brief row={row} />
      </td>
      <td>{row.freshness == null ? DASH : duration(row.freshness)}</td>
      <td>
        {/* What was last seen is not what is. */}
        <b className={row.state === 'UNKNOWN' ? 'mut' : undefined}>{duration(lag?.seconds)}</b>
        <span className="mut bound">{lag?.seconds != null ? bound(lag.bound) : ''}</span>
      </td>
      <td className="l">
        <Sparkline values={list(lag?.history)} state={row.state} trend={lag?.trend} />
      </td>
      <td>
        <DrainCell lag={lag} />
      </td>
      <td>{rate(lag?.messages)}</td>
      <td>
        <LossInCell seconds={row.loss_in} />
      </td>
      <td className="l">{row.slowest || DASH}</td>
      <td>{row.in == null ? '?' : rate(row.in)}</td>
      <td>{row.out == null ? '?' : rate(row.out)}</td>
      <td>
        <LostCell row={row} />
      </td>
    </tr>
  );
});

/** What matters most of a row, for screens on which its columns are out of sight. */
export function briefOf(row: Pick<PipelineRow, 'lost_24h' | 'lost_bound' | 'freshness' | 'slowest'>): string[] {
  return [
    row.lost_24h > 0 ? `${count(row.lost_24h)} lost` : row.lost_bound > 0 ? `≤ ${count(row.lost_bound)} unknown` : '',
    row.freshness == null ? '' : `${duration(row.freshness)} old at the sink`,
    row.slowest,
  ].filter(Boolean);
}

function Brief({ row }: { row: PipelineRow }) {
  const [first, ...rest] = briefOf(row);
  if (first === undefined) return null;
  return (
    <div className="narrow told mut">
      <span className={row.lost_24h > 0 ? 'bad' : undefined}>{first}</span>
      {rest.map((x) => ` · ${x}`).join('')}
    </div>
  );
}

/** Who says that this is a pipeline: people (a filled square) or weir alone (a hollow one). */
export function Origin({ declared, word }: { declared: boolean; word?: boolean }) {
  const says = declared ? 'declared' : 'found by weir, declared by nobody';
  return (
    <span className="origin mut" title={says}>
      <svg width="9" height="9" viewBox="0 0 10 10" aria-hidden>
        <rect
          x="1.500"
          y="1.500"
          width="7"
          height="7"
          rx="1.500"
          fill={declared ? 'currentColor' : 'none'}
          stroke="currentColor"
          strokeWidth="1.400"
          strokeDasharray={declared ? undefined : '2 1.300'}
        />
      </svg>
      <span className={word ? undefined : 'sr'}>{declared ? 'declared' : 'found'}</span>
    </span>
  );
}

/** Lost records; where their fate is unknown, at most how many. */
function LostCell({ row }: { row: PipelineRow }) {
  if (row.lost_24h > 0) return <span className="bad">{count(row.lost_24h)}</span>;
  if (row.lost_bound > 0) return <span className="mut">≤ {count(row.lost_bound)}</span>;
  if (row.state === 'UNKNOWN' || row.level === 'L0' || row.level === '')
    return (
      <span className="mut" title="Nothing counts losses here yet">
        ?
      </span>
    );
  return <>0</>;
}
