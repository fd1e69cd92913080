// j, k and Enter over the rows of a table. The cursor is page state, not focus: Tab still walks links.
import { useCallback, useEffect, useState } from 'react';
import { useKeys } from './keys';

/** Index of the row under the cursor (-1 before the first j), and keys to move it. */
export function useRows(length: number, open: (index: number) => void, start = -1): [number, (i: number) => void] {
  const [cursor, setCursor] = useState(start);
  const move = useCallback(
    (to: number) => {
      if (length === 0) return;
      const next = Math.max(0, Math.min(length - 1, to));
      // From now on Enter is for the row, no longer for the tab or button that was pressed last.
      const focused = document.activeElement;
      if (focused instanceof HTMLElement && focused.matches('button, a')) focused.blur();
      setCursor(next);
      requestAnimationFrame(() => document.querySelector(`[data-row="${next}"]`)?.scrollIntoView({ block: 'nearest' }));
    },
    [length],
  );
  useEffect(() => {
    if (cursor >= length) setCursor(length - 1);
  }, [cursor, length]);
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
