// A trace as columns of numbers: 100,000 spans must open at once and scroll smoothly, so there is no
// object per row. Spans come in the order of the waterfall (parents before their children).
import { list, type SpanRow, type Trace } from '../../api/types';

export interface Model {
  spans: readonly SpanRow[];
  depth: Uint16Array;
  /** Index behind the last descendant. */
  end: Int32Array;
  /** Number of the service, for its colour. */
  service: Uint16Array;
  services: string[];
  failed: Uint8Array;
  errors: number;
  /** Seconds; at least a nanosecond, so that shares are numbers. */
  duration: number;
}

export function build(trace: Trace): Model {
  const spans = list(trace.spans);
  const n = spans.length;
  const depth = new Uint16Array(n);
  const end = new Int32Array(n);
  const service = new Uint16Array(n);
  const failed = new Uint8Array(n);
  const names = new Map<string, number>();
  const open: number[] = [];
  let errors = 0;
  let last = 0;
  for (let i = 0; i < n; i++) {
    const s = spans[i] as SpanRow;
    depth[i] = s.depth;
    while (open.length > 0 && (depth[open[open.length - 1] as number] as number) >= s.depth)
      end[open.pop() as number] = i;
    open.push(i);
    let number = names.get(s.service);
    if (number === undefined) {
      number = names.size;
      names.set(s.service, number);
    }
    service[i] = number;
    if (s.status.toLowerCase().includes('error')) {
      failed[i] = 1;
      errors++;
    }
    last = Math.max(last, s.start + s.duration);
  }
  for (const i of open) end[i] = n;
  return {
    spans,
    depth,
    end,
    service,
    services: [...names.keys()],
    failed,
    errors,
    duration: Math.max(trace.duration, last, 1e-9),
  };
}

/** Indexes of the rows to draw when the children of `folded` are hidden. */
export function visible(m: Model, folded: ReadonlySet<number>): Int32Array {
  const out = new Int32Array(m.spans.length);
  let k = 0;
  for (let i = 0; i < m.spans.length; ) {
    out[k++] = i;
    i = folded.has(i) ? (m.end[i] as number) : i + 1;
  }
  return out.subarray(0, k);
}

/** Indexes of spans whose name, service, id or attribute holds the text. */
export function find(m: Model, text: string): number[] {
  const t = text.trim().toLowerCase();
  if (!t) return [];
  const out: number[] = [];
  m.spans.forEach((s, i) => {
    if (s.name.toLowerCase().includes(t) || s.service.toLowerCase().includes(t) || s.id === t || inAttrs(s, t))
      out.push(i);
  });
  return out;
}

function inAttrs(s: SpanRow, t: string): boolean {
  for (const k in s.attrs) if (k.toLowerCase().includes(t) || s.attrs[k]?.toLowerCase().includes(t)) return true;
  return false;
}

/** The ancestors of a span, nearest first. */
export function ancestors(m: Model, index: number): number[] {
  const out: number[] = [];
  let d = m.depth[index] as number;
  for (let i = index - 1; i >= 0 && d > 0; i--) {
    if ((m.depth[i] as number) < d) {
      out.push(i);
      d = m.depth[i] as number;
    }
  }
  return out;
}

export interface Window {
  from: number;
  to: number;
}

/** Zooms around the middle and stays inside the trace. */
export function zoom(w: Window, factor: number, duration: number): Window {
  const middle = (w.from + w.to) / 2;
  const half = Math.max(duration * 1e-6, Math.min(duration, (w.to - w.from) * factor)) / 2;
  return pan({ from: middle - half, to: middle + half }, 0, duration);
}

export function pan(w: Window, share: number, duration: number): Window {
  const width = Math.min(duration, w.to - w.from);
  const from = Math.max(0, Math.min(duration - width, w.from + share * width));
  return { from, to: from + width };
}
