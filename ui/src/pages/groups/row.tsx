import { memo } from 'react';
import { type GroupRow, list } from '../../api/types';
import { DrainCell } from '../../components/drain';
import { target } from '../../components/group-target';
import { Go } from '../../components/link';
import type { Column } from '../../components/sort-head';
import { Sparkline } from '../../components/sparkline';
import { State } from '../../components/state';
import { bound, count, DASH, duration, rate } from '../../lib/format';

export type Sort = 'lag' | 'messages' | 'name';

export const COLUMNS: readonly Column<Sort>[] = [
  { name: 'State', left: true },
  { name: 'Group', key: 'name', left: true, says: 'by name' },
  { name: 'Lag', key: 'lag', says: 'worst first', bounded: true },
  { name: 'Last hour', left: true },
  { name: 'Drains in' },
  { name: 'Unread', key: 'messages' },
  { name: 'Reads', left: true },
  { name: 'Members' },
  { name: 'Partitions' },
  { name: 'Pipeline', left: true },
];

/** A row whose page is on its way: its place is kept. */
export function EmptyRow({ index, on }: { index: number; on: boolean }) {
  return (
    <tr className={on ? 'sel' : undefined} data-row={index} aria-busy>
      <td className="l" colSpan={COLUMNS.length}>
        <span className="mut">…</span>
      </td>
    </tr>
  );
}

export const Row = memo(function Row({
  row: g,
  index,
  on,
  open,
}: {
  row: GroupRow;
  index: number;
  on: boolean;
  open: (g: GroupRow) => void;
}) {
  const { to, view } = target(g);
  return (
    <tr
      className={on ? 'go sel' : 'go'}
      data-row={index}
      aria-selected={on}
      onClick={(e) => {
        if (!(e.target as HTMLElement).closest('a')) open(g);
      }}
    >
      <td className="l">
        <State state={g.state} />
      </td>
      <td className="l clip" title={g.group}>
        <Go to={to} view={view} className="name">
          {g.group}
        </Go>
      </td>
      <td>
        {g.note && g.lag?.seconds == null ? (
          <span className="mut">{g.note}</span>
        ) : (
          <>
            <b>{duration(g.lag?.seconds)}</b>
            <span className="mut bound">{g.lag?.seconds != null ? bound(g.lag.bound) : ''}</span>
          </>
        )}
      </td>
      <td className="l">
        <Sparkline values={list(g.lag?.history)} state={g.state} trend={g.lag?.trend} />
      </td>
      <td>
        <DrainCell lag={g.lag} />
      </td>
      <td>{rate(g.lag?.messages)}</td>
      <td className="l clip" title={`${g.system} ${g.cluster} ${g.destination}`}>
        {g.destination} <span className="mut">{g.system}</span>
      </td>
      <td title={g.group_state}>{g.members === 0 ? <span className="warn">none</span> : count(g.members)}</td>
      <td>{count(g.partitions)}</td>
      <td className="l">{g.pipeline ? <Go to={`/p/${encodeURIComponent(g.pipeline)}`}>{g.pipeline}</Go> : DASH}</td>
    </tr>
  );
});
