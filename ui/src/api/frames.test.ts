import { describe, expect, it } from 'vitest';
import { decodeFrame } from './frames';

/** As docs/wire.md says, written a second time so that the two can disagree. */
function encode(id: number, seq: number, kind: number, json: string, points: [number, number, number][]): ArrayBuffer {
  const text = new TextEncoder().encode(json);
  let columns = 16 + text.length + 4 + 4 * points.length;
  while (columns % 8 !== 0) columns++;
  const buffer = new ArrayBuffer(columns + 16 * points.length);
  const v = new DataView(buffer);
  v.setUint32(0, id, true);
  v.setUint32(4, seq, true);
  v.setUint8(8, kind);
  v.setUint32(12, text.length, true);
  new Uint8Array(buffer).set(text, 16);
  v.setUint32(16 + text.length, points.length, true);
  points.forEach(([s, t, x], i) => {
    v.setUint32(20 + text.length + 4 * i, s, true);
    v.setFloat64(columns + 8 * i, t, true);
    v.setFloat64(columns + 8 * (points.length + i), x, true);
  });
  return buffer;
}

describe('decodeFrame', () => {
  it('reads a snapshot, whatever the padding', () => {
    for (const name of ['', 'a', 'ab', 'abc', 'abcd', 'abcde', 'abcdef', 'abcdefg']) {
      const f = decodeFrame(
        encode(3, 1, 1, JSON.stringify({ series: [{ labels: { x: name } }] }), [
          [0, 1.5e12, 0.25],
          [0, 1.5e12 + 1000, Number.NaN],
        ]),
      );
      expect(f).toMatchObject({ id: 3, seq: 1, kind: 'snapshot', series: [{ x: name }] });
      expect([...f.times]).toEqual([1.5e12, 1.5e12 + 1000]);
      expect(f.values[0]).toBe(0.25);
      expect(f.values[1]).toBeNaN();
    }
  });
  it('reads points', () => {
    const f = decodeFrame(encode(3, 9, 2, '{}', [[4, 1, 2]]));
    expect(f).toMatchObject({ seq: 9, kind: 'points', series: undefined });
    expect([...f.index]).toEqual([4]);
  });
  it('says what is wrong with bytes that are no frame', () => {
    expect(() => decodeFrame(new ArrayBuffer(3))).toThrow(/cannot read a live frame of 3 bytes/);
    expect(() => decodeFrame(encode(1, 1, 7, '{}', []))).toThrow(/kind 7/);
    const cut = encode(1, 1, 1, '{}', [[0, 1, 1]]);
    expect(() => decodeFrame(cut.slice(0, cut.byteLength - 8))).toThrow(/points run past/);
    const lie = encode(1, 1, 1, '{}', []);
    new DataView(lie).setUint32(12, 0xffffffff, true);
    expect(() => decodeFrame(lie)).toThrow(/JSON of/);
  });
  it('never does anything but throw on random bytes', () => {
    let seed = 99;
    for (let i = 0; i < 2000; i++) {
      const bytes = new Uint8Array(i % 96);
      for (let k = 0; k < bytes.length; k++) {
        seed = (seed * 16807) % 2147483647;
        bytes[k] = seed;
      }
      try {
        decodeFrame(bytes.buffer);
      } catch (e) {
        expect(e).toBeInstanceOf(Error);
      }
    }
  });
});
