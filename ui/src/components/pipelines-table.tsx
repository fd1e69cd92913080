import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, useRef } from 'react';
import { list, type PipelineRow } from '../api/types';
import { bound, count, DASH, duration, rate } from '../lib/format';
import { Go } from './link';
import { Scroll } from './scroll';
import { Sparkline } from './sparkline';
import { State } from './state';

export type SortKey = '' | 'name' | 'freshness' | 'lag' | 'in' | 'out' | 'lost';

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

/** The table of pipelines; past 200 rows only what is in sight is drawn. */
export function PipelinesTable(props: Props) {
  return props.rows.length > MANY ? <LongTable {...props} /> : <ShortTable {...props} />;
}

function ShortTable({ rows, cursor, open, sort, onSort }: Props) {
  return (
    <Scroll label="Pipelines">
      <table aria-label="Pipelines">
        <Head sort={sort} onSort={onSort} />
        <tbody>
          {rows.map((r, i) => (
            <Row key={r.id} row={r} index={i} on={i === cursor} open={open} />
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function LongTable({ rows, cursor, open, sort, onSort }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW,
    overscan: 12,
  });
  const items = virtual.getVirtualItems();
  const before = items[0]?.start ?? 0;
  const after = virtual.getTotalSize() - (items[items.length - 1]?.end ?? 0);
  return (
    <section
      className="scroll"
      style={{ maxHeight: 'calc(100vh - 190px)', overflowY: 'auto' }}
      ref={box}
      tabIndex={0}
      aria-label="Pipelines, scrolling"
    >
      <table aria-label="Pipelines" aria-rowcount={rows.length + 1}>
        <Head sort={sort} onSort={onSort} />
        <tbody>
          {before > 0 ? <tr aria-hidden style={{ height: before }} /> : null}
          {items.map((item) => {
            const r = rows[item.index] as PipelineRow;
            return <Row key={r.id} row={r} index={item.index} on={item.index === cursor} open={open} />;
          })}
          {after > 0 ? <tr aria-hidden style={{ height: after }} /> : null}
        </tbody>
      </table>
    </section>
  );
}

const COLUMNS: { name: string; key?: SortKey; left?: boolean; says?: string }[] = [
  { name: 'State', key: '', left: true, says: 'worst first' },
  { name: 'Pipeline', key: 'name', left: true },
  { name: 'Data at sink is', key: 'freshness' },
  { name: 'Slowest stage', left: true },
  { name: 'Lag', key: 'lag' },
  { name: 'Lag, last hour', left: true },
  { name: 'Drains in' },
  { name: 'In /s', key: 'in' },
  { name: 'Out /s', key: 'out' },
  { name: 'Lost 24 h', key: 'lost' },
];

function Head({ sort, onSort }: Pick<Props, 'sort' | 'onSort'>) {
  return (
    <thead>
      <tr>
        {COLUMNS.map((c) => {
          const on = onSort !== undefined && c.key !== undefined && sort === c.key;
          return (
            <th
              key={c.name}
              scope="col"
              className={c.left ? 'l' : undefined}
              aria-sort={on ? (c.key === 'name' ? 'ascending' : 'descending') : undefined}
            >
              {c.key === undefined || !onSort ? (
                c.name
              ) : (
                <button
                  type="button"
                  className="sort"
                  onClick={() => onSort(c.key as SortKey)}
                  title={`Sort: ${c.says ?? 'largest first'}`}
                >
                  {c.name}
                  {on ? <span aria-hidden>{c.key === 'name' ? ' ↑' : ' ↓'}</span> : null}
                </button>
              )}
            </th>
          );
        })}
      </tr>
    </thead>
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
      className={on ? 'go sel' : 'go'}
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
      </td>
      <td>
        {row.freshness == null ? (
          DASH
        ) : (
          <>
            {duration(row.freshness)} <span className="mut">old</span>
          </>
        )}
      </td>
      <td className="l">{row.slowest || DASH}</td>
      <td>
        <b>{duration(lag?.seconds)}</b>
        <span className="mut bound">{lag?.seconds != null ? bound(lag.bound) : ''}</span>
      </td>
      <td className="l">
        <Sparkline values={list(lag?.history)} state={row.state} />
      </td>
      <td>{lag?.drain_never ? <span className="warn">never</span> : duration(lag?.drain)}</td>
      <td>{row.in == null ? '?' : rate(row.in)}</td>
      <td>{row.out == null ? '?' : rate(row.out)}</td>
      <td>
        <LostCell row={row} />
      </td>
    </tr>
  );
});

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
