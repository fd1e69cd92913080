// The partitions of one destination as one group reads them: heat strip and table.
import { useHeat } from '../api/hooks';
import type { PartitionRow } from '../api/types';
import { useRange, useView } from '../state/use-view';
import { HeatStrip } from './heat/heat-strip';
import { type PartitionSort, PartitionsTable } from './partitions-table';
import { Screen } from './screen';

export function PartitionView({
  pipeline,
  destination,
  group,
  rows,
  hot,
}: {
  pipeline: string;
  destination: string;
  group: string;
  rows: readonly PartitionRow[];
  hot: boolean;
}) {
  const [view, set] = useView();
  const range = useRange(view, 'now-1h');
  const heat = useHeat(pipeline, destination, group, range.key, range.now, view.live && range.relative);
  const sort: PartitionSort = view.sort === 'name' || view.sort === 'seconds' ? view.sort : 'messages';
  return (
    <>
      {group ? (
        <Screen answer={heat} what={`the backlog of ${destination} over time`} bones={[260]}>
          {(data) => <HeatStrip heat={data} zone={view.tz} hot={hot} />}
        </Screen>
      ) : null}
      <PartitionsTable
        rows={rows}
        label={`${destination} → ${group || 'nobody'}`}
        sort={sort}
        onSort={(s) => set({ sort: s === 'messages' ? '' : s })}
      />
    </>
  );
}
