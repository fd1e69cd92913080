export interface Column<K extends string> {
  name: string;
  /** Sorts by this when pressed; without it the column does not sort. */
  key?: K;
  left?: boolean;
  /** What the order is, `worst first`. */
  says?: string;
  title?: string;
  /** Each figure is followed by its stated error, `.bound`: the heading stands above the figures. */
  bounded?: boolean;
}

/** The head of a table whose columns sort. Names go up, everything else has the largest first. */
export function SortHead<K extends string>({
  columns,
  sort,
  onSort,
}: {
  columns: readonly Column<K>[];
  sort: K;
  onSort?: (key: K) => void;
}) {
  return (
    <thead>
      <tr>
        {columns.map((c) => {
          const on = onSort !== undefined && c.key !== undefined && sort === c.key;
          return (
            <th
              key={c.name}
              scope="col"
              className={c.left ? 'l' : c.bounded ? 'bounded' : undefined}
              title={c.title}
              aria-sort={on ? (c.key === 'name' ? 'ascending' : 'descending') : undefined}
            >
              {c.key === undefined || !onSort ? (
                c.name
              ) : (
                <button
                  type="button"
                  className="sort"
                  onClick={() => onSort(c.key as K)}
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
