// One destination at a time, as one group reads it; a choice where there are several.
import { useMemo } from 'react';
import type { PartitionRow } from '../../api/types';
import { PartitionView } from '../../components/partition-view';
import { toneOf } from '../../components/state';
import { useView } from '../../state/use-view';
import { InputPick, keyOf } from './input-pick';

/** Rows by destination and group, those with the largest backlog first. */
export function inputsOf(rows: readonly PartitionRow[]): PartitionRow[][] {
  const groups = new Map<string, PartitionRow[]>();
  for (const r of rows) {
    const key = keyOf(r);
    const there = groups.get(key);
    if (there) there.push(r);
    else groups.set(key, [r]);
  }
  const backlog = (g: PartitionRow[]) => g.reduce((n, r) => n + (r.lag?.messages ?? 0), 0);
  return [...groups.values()].sort((a, b) => backlog(b) - backlog(a));
}

export function Partitions({ rows, id }: { rows: readonly PartitionRow[]; id: string }) {
  const [view] = useView();
  const all = useMemo(() => inputsOf(rows), [rows]);
  const shown = all.find((g) => keyOf(g[0] as PartitionRow) === view.grp) ?? all[0];
  const first = shown?.[0];
  if (!shown || !first) return null;
  return (
    <>
      {all.length > 1 ? (
        <div className="row">
          <span className="mut">Reader</span>
          <InputPick inputs={all.map((g) => g[0] as PartitionRow)} value={keyOf(first)} />
        </div>
      ) : null}
      <PartitionView
        pipeline={id}
        destination={first.destination}
        group={first.group}
        rows={shown}
        hot={shown.some((r) => toneOf(r.state) === 'late')}
      />
    </>
  );
}
