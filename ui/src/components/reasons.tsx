// Why we say so: one line for each kind of reason; those that differ only in figures fold behind the first.
import { told } from '../lib/told';
import { useView } from '../state/use-view';

/** Reasons that differ only in their figures, together, in the order they come. */
export function alike(reasons: readonly string[]): string[][] {
  const by = new Map<string, string[]>();
  for (const r of reasons) {
    const kind = r.replace(/\d[\d.,]*/g, '#');
    const list = by.get(kind);
    if (list) list.push(r);
    else by.set(kind, [r]);
  }
  return [...by.values()];
}

export function Reasons({ reasons }: { reasons: readonly string[] }) {
  const [view] = useView();
  const now = Date.now();
  return (
    <ul>
      {alike(reasons).map(([first, ...more]) => (
        <li key={first}>
          {told(first as string, view.tz, now)}
          {more.length > 0 ? (
            <details>
              <summary className="mut">{more.length} more like it, of other windows</summary>
              <ul>
                {more.map((r) => (
                  <li key={r}>{told(r, view.tz, now)}</li>
                ))}
              </ul>
            </details>
          ) : null}
        </li>
      ))}
    </ul>
  );
}
