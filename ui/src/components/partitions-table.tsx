// Partitions as one group reads them: skew shows as one long bar among short ones.
import { memo, useMemo } from 'react';
import type { PartitionRow } from '../api/types';
import { count, duration, percent, plural } from '../lib/format';
import { type Column, SortHead } from './sort-head';
import { State, toneOf } from './state';
import { VirtualTable } from './virtual-table';

export type PartitionSort = 'messages' | 'name' | 'seconds';

const COLUMNS: readonly Column<PartitionSort>[] = [
  { name: 'State', left: true },
  { name: 'Partition', key: 'name', says: 'by number' },
  { name: 'Lag', key: 'seconds' },
  { name: 'Unread', key: 'messages' },
  { name: 'Share of the backlog', left: true },
  { name: 'Committed' },
  { name: 'End' },
  { name: 'Unacked' },
  { name: 'Redelivered' },
];

const order = new Intl.Collator('en', { numeric: true });

/** Largest first; what is not known before all, because nobody knows that it is small. */
export function sortPartitions(rows: readonly PartitionRow[], sort: PartitionSort): PartitionRow[] {
  const by = (r: PartitionRow) => (sort === 'seconds' ? r.lag?.seconds : r.lag?.messages) ?? Number.POSITIVE_INFINITY;
  const name = (a: PartitionRow, b: PartitionRow) => order.compare(a.partition, b.partition);
  if (sort === 'name') return [...rows].sort(name);
  return [...rows].sort((a, b) => (by(a) === by(b) ? name(a, b) : by(b) - by(a)));
}

/** How much waits in all; what some partitions do not tell is never counted as nothing. */
export function backlogText(rows: readonly PartitionRow[]): string {
  const known = rows.filter((r) => r.lag?.messages != null);
  const total = known.reduce((n, r) => n + (r.lag?.messages ?? 0), 0);
  const where = plural(rows.length, 'partition');
  if (known.length === 0) return `unread records of ${where} not known`;
  const least = known.length < rows.length ? 'at least ' : '';
  return `${least}${plural(Math.round(total), 'unread record')} in ${where}${least ? `, ${count(rows.length - known.length)} of them not known` : ''}`;
}

export function PartitionsTable({
  rows,
  label,
  sort,
  onSort,
}: {
  rows: readonly PartitionRow[];
  label: string;
  sort: PartitionSort;
  onSort?: (sort: PartitionSort) => void;
}) {
  const sorted = useMemo(() => sortPartitions(rows, sort), [rows, sort]);
  const [total, most] = useMemo(() => {
    let sum = 0;
    let max = 1;
    for (const r of rows) {
      const n = r.lag?.messages ?? 0;
      sum += n;
      if (n > max) max = n;
    }
    return [sum, max];
  }, [rows]);
  return (
    <section className="card" aria-label={label}>
      <div className="row card-head base">
        <h2>{label}</h2>
        <span className="mut">{backlogText(rows)}</span>
      </div>
      <VirtualTable
        label={label}
        count={sorted.length}
        height={32}
        maxHeight="420px"
        className="dense"
        head={<SortHead columns={COLUMNS} sort={sort} onSort={onSort} />}
        row={(i) => {
          const r = sorted[i] as PartitionRow;
          return <Row key={`${r.destination} ${r.group} ${r.partition}`} r={r} total={total} most={most} />;
        }}
      />
    </section>
  );
}

const Row = memo(function Row({ r, total, most }: { r: PartitionRow; total: number; most: number }) {
  const n = r.lag?.messages;
  return (
    <tr>
      <td className="l">
        <State state={r.state} />
      </td>
      <td>{r.partition}</td>
      <td>
        <b>{duration(r.lag?.seconds)}</b>
      </td>
      <td>{count(n)}</td>
      <td className="l">
        {n == null ? null : (
          <svg width="120" height="10" aria-hidden>
            <rect
              width={Math.max(1, (120 * n) / most)}
              height="10"
              rx="2"
              fill={toneOf(r.state) === 'late' ? 'var(--late)' : 'var(--s1)'}
            />
          </svg>
        )}{' '}
        <span className="mut">{n == null ? 'not known' : total > 0 ? percent(n / total) : ''}</span>
      </td>
      <td>{count(r.committed)}</td>
      <td>{count(r.end)}</td>
      <td>{count(r.pending)}</td>
      <td>{count(r.redelivered)}</td>
    </tr>
  );
});
