// Places the nodes of a pipeline: columns by longest path from the sources, rows by the mean place
// of what feeds them. Pure; a pipeline is small by construction, so nothing cleverer is needed.

export interface Box {
  id: string;
  column: number;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Placed {
  boxes: Map<string, Box>;
  width: number;
  height: number;
}

interface NodeIn {
  id: string;
  width: number;
  height: number;
}

interface EdgeIn {
  from: string;
  to: string;
}

const ROW_GAP = 46;

/** Column of each node: the longest way from a source. An edge that closes a circle counts for nothing. */
export function columns(ids: readonly string[], edges: readonly EdgeIn[]): Map<string, number> {
  const out = new Map<string, EdgeIn[]>(ids.map((id) => [id, []]));
  for (const e of edges) if (out.has(e.from) && out.has(e.to) && e.from !== e.to) (out.get(e.from) as EdgeIn[]).push(e);
  const back = backEdges(ids, out);
  const into = new Map<string, number>(ids.map((id) => [id, 0]));
  for (const list of out.values()) for (const e of list) if (!back.has(e)) into.set(e.to, (into.get(e.to) ?? 0) + 1);
  const column = new Map<string, number>(ids.map((id) => [id, 0]));
  const ready = ids.filter((id) => into.get(id) === 0);
  for (let id = ready.shift(); id !== undefined; id = ready.shift()) {
    for (const e of out.get(id) ?? []) {
      if (back.has(e)) continue;
      column.set(e.to, Math.max(column.get(e.to) ?? 0, (column.get(id) ?? 0) + 1));
      const left = (into.get(e.to) ?? 1) - 1;
      into.set(e.to, left);
      if (left === 0) ready.push(e.to);
    }
  }
  return column;
}

function backEdges(ids: readonly string[], out: Map<string, EdgeIn[]>): Set<EdgeIn> {
  const back = new Set<EdgeIn>();
  const state = new Map<string, 'open' | 'done'>();
  const visit = (id: string) => {
    state.set(id, 'open');
    for (const e of out.get(id) ?? []) {
      const s = state.get(e.to);
      if (s === 'open') back.add(e);
      else if (!s) visit(e.to);
    }
    state.set(id, 'done');
  };
  for (const id of ids) if (!state.has(id)) visit(id);
  return back;
}

/** Room behind a column, where the labels of its edges stand. */
export type Gap = (column: number, columns: ReadonlyMap<string, number>) => number;

/** Places nodes; `room` is the width there is, spread between the columns when there is some to spare. */
export function place(nodes: readonly NodeIn[], edges: readonly EdgeIn[], gap: Gap, room = 0): Placed {
  const column = columns(
    nodes.map((n) => n.id),
    edges,
  );
  const byColumn: NodeIn[][] = [];
  for (const n of nodes) {
    const c = column.get(n.id) ?? 0;
    byColumn[c] ??= [];
    (byColumn[c] as NodeIn[]).push(n);
  }
  const height = Math.max(0, ...byColumn.map((c) => stack(c)));
  const natural = byColumn.reduce((sum, c) => sum + widest(c), 0);
  const gaps = byColumn.map((_, c) => (c < byColumn.length - 1 ? gap(c, column) : 0));
  const all = natural + gaps.reduce((a, b) => a + b, 0);
  // Room to spare goes between the columns, evenly, up to a point.
  const spread = byColumn.length > 1 ? Math.min(90, Math.max(0, room - all) / (byColumn.length - 1)) : 0;
  const boxes = new Map<string, Box>();
  let x = 1;
  byColumn.forEach((nodesHere, c) => {
    const mean = (n: NodeIn) => {
      const ys = edges.filter((e) => e.to === n.id && boxes.has(e.from)).map((e) => centre(boxes.get(e.from) as Box));
      return ys.length > 0 ? ys.reduce((a, b) => a + b, 0) / ys.length : Number.NaN;
    };
    const order = nodesHere.map((n, i) => ({ n, i, m: mean(n) })).sort((a, b) => a.m - b.m || 0 || a.i - b.i);
    const width = widest(nodesHere);
    let y = (height - stack(nodesHere)) / 2 + 1;
    for (const { n } of order) {
      boxes.set(n.id, { id: n.id, column: c, x: x + (width - n.width) / 2, y, width: n.width, height: n.height });
      y += n.height + ROW_GAP;
    }
    const last = c === byColumn.length - 1;
    x += width + (last ? 0 : (gaps[c] as number) + spread);
  });
  return { boxes, width: x + 1, height: height + 2 };
}

const centre = (b: Box) => b.y + b.height / 2;
const stack = (nodes: readonly NodeIn[]) =>
  nodes.reduce((sum, n) => sum + n.height, 0) + ROW_GAP * Math.max(0, nodes.length - 1);
const widest = (nodes: readonly NodeIn[]) => Math.max(0, ...nodes.map((n) => n.width));
