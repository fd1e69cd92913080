// Binary frames of the live topic `query`; docs/wire.md has the layout. All numbers little-endian.

export interface Frame {
  id: number;
  seq: number;
  kind: 'snapshot' | 'points';
  /** Labels of each series; only in a snapshot. */
  series?: Record<string, string>[];
  index: Uint32Array;
  times: Float64Array;
  values: Float64Array;
}

const HEAD = 16;
const MAX_POINTS = 5_000_000;

/** Decodes one frame; throws with what is wrong when it is not one. */
export function decodeFrame(buffer: ArrayBuffer): Frame {
  const view = new DataView(buffer);
  const fail = (what: string): never => {
    throw new Error(`cannot read a live frame of ${buffer.byteLength} bytes: ${what}`);
  };
  if (buffer.byteLength < HEAD + 4) fail('it is shorter than its head');
  const kind = view.getUint8(8);
  if (kind !== 1 && kind !== 2) fail(`kind ${kind} is neither 1 nor 2`);
  const jsonLength = view.getUint32(12, true);
  const afterJson = HEAD + jsonLength;
  if (afterJson + 4 > buffer.byteLength) fail(`its JSON of ${jsonLength} bytes runs past the end`);
  const json = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, HEAD, jsonLength)) || '{}');
  const n = view.getUint32(afterJson, true);
  const columns = align(afterJson + 4 + 4 * n);
  if (n > MAX_POINTS || columns + 16 * n > buffer.byteLength) fail(`${n} points run past the end`);
  const index = new Uint32Array(n);
  const times = new Float64Array(n);
  const values = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    index[i] = view.getUint32(afterJson + 4 + 4 * i, true);
    times[i] = view.getFloat64(columns + 8 * i, true);
    values[i] = view.getFloat64(columns + 8 * (n + i), true);
  }
  const series = (json.series as { labels: Record<string, string> }[] | undefined)?.map((s) => s.labels);
  return {
    id: view.getUint32(0, true),
    seq: view.getUint32(4, true),
    kind: kind === 1 ? 'snapshot' : 'points',
    series,
    index,
    times,
    values,
  };
}

function align(offset: number): number {
  return (offset + 7) & ~7;
}
