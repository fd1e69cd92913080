// j, k and Enter over the rows of a table. The cursor is page state, not focus: Tab still walks links.
import { useCallback, useEffect, useRef, useState } from 'react';
import { useKeys } from './keys';

interface Choice {
  /** Row the page itself has chosen; the cursor goes along when that changes. */
  at?: number;
  /** Hears where the keys moved to, for pages on which the cursor is the choice. */
  onMove?: (index: number) => void;
}

/** Index of the row under the cursor (-1 before the first j), and keys to move it. */
export function useRows(
  length: number,
  open: (index: number) => void,
  { at = -1, onMove }: Choice = {},
): [number, (i: number) => void] {
  const [cursor, setCursor] = useState(at);
  const moved = useRef(onMove);
  moved.current = onMove;
  const move = useCallback(
    (to: number) => {
      if (length === 0) return;
      const next = Math.max(0, Math.min(length - 1, to));
      // From now on Enter is for the row, no longer for the tab or button that was pressed last.
      const focused = document.activeElement;
      if (focused instanceof HTMLElement && focused.matches('button, a')) focused.blur();
      setCursor(next);
      moved.current?.(next);
      // Rows of a long list that are not drawn have no element: their table scrolls to the cursor itself.
      requestAnimationFrame(() => document.querySelector(`[data-row="${next}"]`)?.scrollIntoView({ block: 'nearest' }));
    },
    [length],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: rows that come back after none have their choice again
  useEffect(() => {
    if (at >= 0) setCursor(at);
  }, [at, length]);
  useEffect(() => setCursor((c) => Math.min(c, length - 1)), [length]);
  useKeys({
    j: () => move(cursor + 1),
    k: () => move(cursor - 1),
    Enter: (event) => {
      // What has the focus keeps its own Enter.
      if ((event.target as HTMLElement).closest?.('a,button,summary,[role="button"],[role="tab"]')) return false;
      if (cursor < 0) return false;
      open(cursor);
    },
  });
  return [cursor, setCursor];
}
