// Paints a grid: one pixel a cell into a small picture, then stretched. 60,000 cells take a few milliseconds.
import { at, type Grid, strength } from './model';

/** The end of the scale where nothing is late. */
export const CALM = 0.5;

type RGB = [number, number, number];

/** Any CSS colour as numbers, through a canvas of one pixel. */
function rgb(name: string): RGB {
  const one = document.createElement('canvas');
  one.width = 1;
  one.height = 1;
  const ctx = one.getContext('2d', { willReadFrequently: true });
  if (!ctx) return [0, 0, 0];
  ctx.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim() || '#000';
  ctx.fillRect(0, 0, 1, 1);
  const [r = 0, g = 0, b = 0] = ctx.getImageData(0, 0, 1, 1).data;
  return [r, g, b];
}

export function paint(canvas: HTMLCanvasElement, g: Grid, width: number, height: number, hot: boolean): void {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const ctx = canvas.getContext('2d');
  const rows = g.partitions.length;
  const columns = g.times.length;
  if (!ctx || rows === 0 || columns === 0) return;
  const ground = rgb('--hover');
  const colour = rgb(hot ? '--late' : '--s1');
  const unknown = rgb('--unk');
  const panel = rgb('--panel');
  const picture = new ImageData(columns, rows);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) {
      const v = at(g, r, c);
      // Without lateness the darkest cell is no alarm: it stays pale.
      const s = strength(v, g.max) * (hot ? 1 : CALM);
      const from = v < 0 ? panel : ground;
      const i = 4 * (r * columns + c);
      for (let k = 0; k < 3; k++)
        picture.data[i + k] = Math.round((from[k] as number) * (1 - s) + (colour[k] as number) * s);
      picture.data[i + 3] = 255;
    }
  const small = document.createElement('canvas');
  small.width = columns;
  small.height = rows;
  small.getContext('2d')?.putImageData(picture, 0, 0);
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(small, 0, 0, canvas.width, canvas.height);
  hatchUnknown(ctx, g, canvas.width, canvas.height, `rgb(${unknown.join(' ')})`, ratio);
  // Rows high enough are kept apart by a line.
  if (canvas.height / rows < 8 * ratio) return;
  ctx.fillStyle = `rgb(${panel.join(' ')})`;
  for (let r = 1; r < rows; r++) ctx.fillRect(0, Math.round((r * canvas.height) / rows) - ratio, canvas.width, ratio);
}

/** What is not known is drawn as thin slanted dashes on nothing, never as an empty backlog. */
function hatchUnknown(
  ctx: CanvasRenderingContext2D,
  g: Grid,
  width: number,
  height: number,
  colour: string,
  ratio: number,
): void {
  const w = width / g.times.length;
  const h = height / g.partitions.length;
  ctx.save();
  ctx.beginPath();
  let any = false;
  for (let r = 0; r < g.partitions.length; r++)
    for (let c = 0; c < g.times.length; c++)
      if (at(g, r, c) < 0) {
        ctx.rect(c * w, r * h, w, h);
        any = true;
      }
  if (any) {
    ctx.clip();
    ctx.strokeStyle = colour;
    ctx.lineWidth = ratio;
    ctx.setLineDash([3 * ratio, 2 * ratio]);
    ctx.beginPath();
    for (let x = -height; x < width; x += 7 * ratio) {
      ctx.moveTo(x, height);
      ctx.lineTo(x + height, 0);
    }
    ctx.stroke();
  }
  ctx.restore();
}
