import { useVirtualizer } from '@tanstack/react-virtual';
import { type ReactNode, useEffect, useRef } from 'react';

interface Props {
  label: string;
  /** Rows there are; only those in sight are asked for by `row`. */
  count: number;
  head: ReactNode;
  row: (index: number) => ReactNode;
  /** Height of a row in pixels; all are the same. */
  height: number;
  maxHeight?: string;
  className?: string;
  /** Row under the cursor: the table scrolls to it when it moves, drawn or not. */
  cursor?: number;
  /** First and last row in sight, for lists that are fetched page by page. */
  onSight?: (first: number, last: number) => void;
}

/** Height of the head, which stands above the rows; as in `.tall-list`. */
const HEAD = 38;

/** A table of which only the rows in sight are drawn; spacers stand for the others. */
export function VirtualTable({ label, count, head, row, height, maxHeight, className, cursor = -1, onSight }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count,
    getScrollElement: () => box.current,
    estimateSize: () => height,
    overscan: 12,
    // Rows are counted from below the head, but it is part of what scrolls.
    scrollPaddingEnd: HEAD,
  });
  const items = virtual.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = items[items.length - 1]?.index ?? 0;
  const before = items[0]?.start ?? 0;
  const after = virtual.getTotalSize() - (items[items.length - 1]?.end ?? 0);
  useEffect(() => {
    if (cursor >= 0) virtual.scrollToIndex(cursor);
  }, [cursor, virtual]);
  const sight = useRef(onSight);
  sight.current = onSight;
  useEffect(() => sight.current?.(first, last), [first, last]);
  return (
    <section
      className="scroll tall-list"
      style={{ maxHeight: maxHeight ?? 'calc(100vh - 190px)' }}
      ref={box}
      tabIndex={0}
      aria-label={`${label}, scrolling`}
    >
      <table aria-label={label} aria-rowcount={count + 1} className={className}>
        {head}
        <tbody>
          {before > 0 ? <tr aria-hidden style={{ height: before }} /> : null}
          {items.map((item) => row(item.index))}
          {after > 0 ? <tr aria-hidden style={{ height: after }} /> : null}
        </tbody>
      </table>
    </section>
  );
}
