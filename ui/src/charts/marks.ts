// What happened, drawn over a chart: a dashed line for a moment, a faint band for what lasted, and its words.
import type uPlot from 'uplot';

export const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export interface Mark {
  at: number;
  /** End of what lasted, Unix ms; 0 or left out = a moment. */
  until?: number;
  text: string;
}

const LONGEST = 40;

function shorten(ctx: CanvasRenderingContext2D, text: string, room: number): string {
  let n = Math.min(text.length, LONGEST);
  const cut = () => (n < text.length ? `${text.slice(0, n - 1).trimEnd()}…` : text);
  while (n > 6 && ctx.measureText(cut()).width > room) n--;
  return cut();
}

export function drawMarks(u: uPlot, marks: readonly Mark[], colour: string, font: string): void {
  const { ctx } = u;
  const ratio = devicePixelRatio || 1;
  const inside = marks
    .map((m) => ({ text: m.text, x: u.valToPos(m.at / 1000, 'x', true) }))
    .filter(({ x }) => x >= u.bbox.left && x <= u.bbox.left + u.bbox.width)
    .sort((a, b) => b.x - a.x);
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  const { left: edge, width: room } = u.bbox;
  for (const m of marks) {
    if (!m.until || m.until <= m.at) continue;
    const [a, b] = [m.at, m.until].map((t) =>
      Math.min(edge + room, Math.max(edge, u.valToPos(t / 1000, 'x', true))),
    ) as [number, number];
    ctx.globalAlpha = 0.12;
    ctx.fillStyle = colour;
    ctx.fillRect(a, u.bbox.top, b - a, u.bbox.height);
    ctx.globalAlpha = 1;
  }
  for (const { x } of inside) {
    ctx.beginPath();
    ctx.moveTo(x, u.bbox.top);
    ctx.lineTo(x, u.bbox.top + u.bbox.height);
    ctx.stroke();
  }
  ctx.font = font.replace('11px', `${11 * ratio}px`);
  const gap = 5 * ratio;
  // Newest first; a label that would cover a newer one is left out, its line stays.
  const taken: [number, number][] = [];
  for (const m of inside) {
    const left = m.x - u.bbox.left - gap;
    const right = u.bbox.left + u.bbox.width - m.x - gap;
    const before = ctx.measureText(m.text).width > right && left > right;
    const text = shorten(ctx, m.text, before ? left : right);
    const width = ctx.measureText(text).width;
    const x = before ? m.x - gap - width : m.x + gap;
    if (taken.some(([a, b]) => x - gap < b && a < x + width + gap)) continue;
    taken.push([x, x + width]);
    // The line of an older change must not run through the words.
    ctx.fillStyle = css('--panel');
    ctx.fillRect(x - 2 * ratio, u.bbox.top - 9 * ratio, width + 4 * ratio, 13 * ratio);
    ctx.fillStyle = colour;
    ctx.textAlign = 'left';
    ctx.fillText(text, x, u.bbox.top + 2 * ratio);
  }
  ctx.restore();
}
