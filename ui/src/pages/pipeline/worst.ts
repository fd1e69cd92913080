import type { FlowNode } from '../../api/types';
import { toneOf } from '../../components/state';

const RANK = { lose: 1, late: 2, unk: 3, ok: 4 };

/** The node to be seen first: what holds the data up, then what loses, is late, unknown, catches up; undefined = all is well. */
export function worstOf(nodes: readonly FlowNode[]): string | undefined {
  const rank = (n: FlowNode) => (n.stuck ? 0 : RANK[toneOf(n.state)]);
  return [...nodes]
    .filter((n) => n.stuck || (n.state !== 'OK' && n.state !== 'IDLE'))
    .sort((a, b) => rank(a) - rank(b))[0]?.id;
}
