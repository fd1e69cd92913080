import type { GroupRow } from '../api/types';
import type { View } from '../state/view';

/** Where a group leads: to its partitions, or to its offsets where no pipeline holds it. */
export function target(g: Pick<GroupRow, 'pipeline' | 'destination' | 'group'>): { to: string; view: Partial<View> } {
  return g.pipeline
    ? { to: `/p/${encodeURIComponent(g.pipeline)}`, view: { tab: 'partitions', grp: `${g.destination}~${g.group}` } }
    : {
        to: '/explore',
        view: {
          q: `weir_broker_committed_offset{destination=${JSON.stringify(g.destination)}, group=${JSON.stringify(g.group)}}`,
        },
      };
}
