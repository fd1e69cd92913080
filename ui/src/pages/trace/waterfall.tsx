import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, type Ref, useImperativeHandle, useRef } from 'react';
import type { SpanRow } from '../../api/types';
import { PALETTE } from '../../charts/chart';
import { spanDuration } from '../../lib/format';
import type { Model, Window } from './model';

const ROW = 26;

export interface WaterfallHandle {
  /** Scrolls the span of this index into sight. */
  show: (index: number) => void;
}

interface Props {
  ref?: Ref<WaterfallHandle>;
  model: Model;
  /** Indexes of the spans to draw. */
  rows: Int32Array;
  shown: Window;
  chosen: number;
  hits: ReadonlySet<number>;
  folded: ReadonlySet<number>;
  choose: (index: number) => void;
  fold: (index: number) => void;
}

/** The rows in sight, and no others. */
export function Waterfall({ ref, model, rows, shown, chosen, hits, folded, choose, fold }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW,
    overscan: 8,
  });
  useImperativeHandle(ref, () => ({
    show: (index) => {
      const at = rows.indexOf(index);
      if (at >= 0) virtual.scrollToIndex(at, { align: 'auto' });
    },
  }));
  return (
    <div className="waterfall">
      <Ticks shown={shown} />
      <div className="rows" role="treegrid" aria-label="Spans" aria-rowcount={rows.length} tabIndex={0} ref={box}>
        <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
          {virtual.getVirtualItems().map((item) => {
            const index = rows[item.index] as number;
            return (
              <Row
                key={index}
                model={model}
                index={index}
                place={item.index}
                top={item.start}
                from={shown.from}
                to={shown.to}
                on={index === chosen}
                hit={hits.has(index)}
                isFolded={folded.has(index)}
                choose={choose}
                fold={fold}
              />
            );
          })}
        </div>
      </div>
    </div>
  );
}

function Ticks({ shown }: { shown: Window }) {
  const parts = [0, 0.25, 0.5, 0.75];
  return (
    <div className="ticks" aria-hidden>
      <span className="mut">Service and span</span>
      <div>
        {parts.map((p) => (
          <span key={p} style={{ left: `${p * 100}%` }}>
            {spanDuration(shown.from + p * (shown.to - shown.from))}
          </span>
        ))}
      </div>
    </div>
  );
}

interface RowProps {
  model: Model;
  index: number;
  place: number;
  top: number;
  from: number;
  to: number;
  on: boolean;
  hit: boolean;
  isFolded: boolean;
  choose: (index: number) => void;
  fold: (index: number) => void;
}

const Row = memo(
  function Row({ model, index, place, top, from, to, on, hit, isFolded, choose, fold }: RowProps) {
    const s = model.spans[index] as SpanRow;
    const children = (model.end[index] as number) - index - 1;
    const failed = model.failed[index] === 1;
    const joins = s.links?.length ?? 0;
    const width = to - from;
    const pos = (t: number) => ((t - from) / width) * 100;
    const left = pos(s.start);
    const right = pos(s.start + s.duration);
    // Beside the bar where there is room: behind it, before it (over its wait), else on it.
    const labelLeft = right > 78;
    const labelAt = !labelLeft
      ? { left: `${Math.max(0, right)}%` }
      : left > 22
        ? { right: `${Math.min(99, 100 - left)}%` }
        : { left: `${Math.max(0, left)}%` };
    const colour = `var(${PALETTE[(model.service[index] as number) % PALETTE.length]})`;
    return (
      <div
        className={`span-row${on ? ' on' : ''}${hit ? ' hit' : ''}`}
        role="row"
        aria-level={s.depth + 1}
        aria-rowindex={place + 1}
        aria-selected={on}
        aria-expanded={children > 0 ? !isFolded : undefined}
        style={{ transform: `translateY(${top}px)` }}
        onClick={() => choose(index)}
      >
        <div
          role="gridcell"
          className="span-name"
          style={{ paddingLeft: `calc(8px + ${Math.min(s.depth, 24)} * var(--indent))` }}
        >
          {children > 0 ? (
            <button
              type="button"
              tabIndex={-1}
              className="fold"
              aria-label={`${isFolded ? 'Unfold' : 'Fold'} ${s.name}`}
              onClick={(e) => {
                e.stopPropagation();
                fold(index);
              }}
            >
              {isFolded ? '▸' : '▾'}
            </button>
          ) : (
            <span className="fold" aria-hidden />
          )}
          <i style={{ background: colour }} aria-hidden />
          <span className="svc">{s.service}</span>
          <span className="mut">{s.name}</span>
          {failed ? <span className="bad">× failed</span> : null}
          {joins > 1 ? (
            <span className="mut joins" title={`A batch: ${joins} messages come together here`}>
              <svg width="13" height="10" viewBox="0 0 13 10" aria-hidden>
                <path
                  d="M0 1C5 1 5 5 9 5M0 5h12M0 9C5 9 5 5 9 5"
                  fill="none"
                  stroke="currentColor"
                  strokeWidth="1.300"
                />
              </svg>
              joins {joins}
            </span>
          ) : null}
          {isFolded ? <span className="mut">+{children}</span> : null}
        </div>
        <div role="gridcell" className="span-bar">
          {s.wait > 0 ? (
            <span className="wait" style={{ left: `${pos(s.start - s.wait)}%`, width: `${(s.wait / width) * 100}%` }} />
          ) : null}
          <span
            className={failed ? 'bar failed' : 'bar'}
            style={{ left: `${left}%`, width: `${Math.max(0.08, right - left)}%`, background: colour }}
          />
          <span className={labelLeft ? 'took over' : 'took'} style={labelAt}>
            {spanDuration(s.duration)}
            {s.wait > 0 ? <span className="mut"> after {spanDuration(s.wait)} waiting</span> : null}
          </span>
        </div>
      </div>
    );
  },
  // The functions are made anew by each drawing of the page and do the same thing for this row.
  (a, b) =>
    a.model === b.model &&
    a.index === b.index &&
    a.place === b.place &&
    a.top === b.top &&
    a.from === b.from &&
    a.to === b.to &&
    a.on === b.on &&
    a.hit === b.hit &&
    a.isFolded === b.isFolded,
);
