import { type PointerEvent, useEffect, useRef } from 'react';
import { PALETTE } from '../../charts/chart';
import { spanDuration } from '../../lib/format';
import { useTheme } from '../../state/theme';
import type { Model, Window } from './model';

const HEIGHT = 56;
const DRAWN = 4000;

/** The whole trace in a strip; drag over it to see that part. */
export function MiniMap({ model, shown, show }: { model: Model; shown: Window; show: (w: Window) => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const drag = useRef<number>(undefined);
  const theme = useTheme();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the theme changes what the colours resolve to
  useEffect(() => {
    const c = canvas.current;
    if (!c) return;
    const draw = () => paint(c, model);
    draw();
    const observer = new ResizeObserver(draw);
    observer.observe(c);
    return () => observer.disconnect();
  }, [model, theme]);
  const at = (e: PointerEvent) => {
    const r = e.currentTarget.getBoundingClientRect();
    return Math.max(0, Math.min(1, (e.clientX - r.left) / r.width)) * model.duration;
  };
  const whole = shown.from <= 0 && shown.to >= model.duration;
  return (
    <div
      className="mini"
      role="img"
      aria-label={`Whole trace, ${spanDuration(model.duration)}; shown: ${spanDuration(shown.from)} to ${spanDuration(shown.to)}. Keys w and s zoom, a and d move.`}
      onPointerDown={(e) => {
        drag.current = at(e);
        e.currentTarget.setPointerCapture(e.pointerId);
      }}
      onPointerMove={(e) => {
        if (drag.current === undefined) return;
        const to = at(e);
        if (Math.abs(to - drag.current) > model.duration * 0.004)
          show({ from: Math.min(to, drag.current), to: Math.max(to, drag.current) });
      }}
      onPointerUp={() => {
        drag.current = undefined;
      }}
      onDoubleClick={() => show({ from: 0, to: model.duration })}
    >
      <canvas ref={canvas} />
      {whole ? null : (
        <>
          <span className="shade" style={{ left: 0, width: `${(shown.from / model.duration) * 100}%` }} />
          <span className="shade" style={{ left: `${(shown.to / model.duration) * 100}%`, right: 0 }} />
        </>
      )}
    </div>
  );
}

function paint(c: HTMLCanvasElement, m: Model): void {
  const ratio = devicePixelRatio || 1;
  const width = c.clientWidth;
  const ctx = c.getContext('2d');
  if (!ctx || width === 0) return;
  c.width = width * ratio;
  c.height = HEIGHT * ratio;
  ctx.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const colours = PALETTE.map((p) => style.getPropertyValue(p).trim());
  const wait = style.getPropertyValue('--line').trim();
  const n = m.spans.length;
  // More spans than this cannot be told apart in a strip; every nth stands for its neighbours.
  const every = Math.max(1, Math.floor(n / DRAWN));
  const line = Math.max(1, Math.min(3, (HEIGHT - 8) / Math.max(1, n / every)));
  for (let i = 0; i < n; i += every) {
    const s = m.spans[i];
    if (!s) continue;
    const y = 4 + ((HEIGHT - 8 - line) * i) / Math.max(1, n - 1);
    if (s.wait > 0) {
      ctx.fillStyle = wait;
      ctx.fillRect(((s.start - s.wait) / m.duration) * width, y, (s.wait / m.duration) * width, line);
    }
    ctx.fillStyle = colours[(m.service[i] as number) % colours.length] as string;
    ctx.fillRect((s.start / m.duration) * width, y, Math.max(1, (s.duration / m.duration) * width), line);
  }
}
