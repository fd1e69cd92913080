import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveClient } from './live';

class FakeSocket {
  static all: FakeSocket[] = [];
  readyState = 0;
  binaryType = '';
  sent: Record<string, unknown>[] = [];
  onopen?: () => void;
  onclose?: () => void;
  onerror?: () => void;
  onmessage?: (e: { data: unknown }) => void;
  constructor() {
    FakeSocket.all.push(this);
  }
  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
    this.onclose?.();
  }
  open() {
    this.readyState = 1;
    this.onopen?.();
  }
  say(m: object) {
    this.onmessage?.({ data: JSON.stringify(m) });
  }
  get lastSub() {
    return this.sent.filter((m) => m.op === 'sub').at(-1) as { id: number };
  }
}

const last = () => FakeSocket.all.at(-1) as FakeSocket;
const make = () =>
  new LiveClient({ url: 'ws://x', socket: () => new FakeSocket() as unknown as WebSocket, random: () => 1 });

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
});
afterEach(() => vi.useRealTimers());

describe('the live client', () => {
  it('gives the snapshot and then each delta applied to it', () => {
    const c = make();
    const seen: unknown[] = [];
    c.subscribe({ topic: 'pipelines' }, { data: (d) => seen.push(d) });
    last().open();
    expect(last().sent).toEqual([{ op: 'sub', id: 1, topic: 'pipelines' }]);
    last().say({ id: 1, seq: 1, kind: 'snapshot', data: { at: 1, rows: [{ id: 'a', n: 1 }] } });
    last().say({ id: 1, seq: 2, kind: 'delta', data: { at: 2, rows: { set: [{ id: 'a', n: 2 }], del: [] } } });
    expect(seen).toEqual([
      { at: 1, rows: [{ id: 'a', n: 1 }] },
      { at: 2, rows: [{ id: 'a', n: 2 }] },
    ]);
  });

  it('shares equal topics, and unsubscribes with the last listener', () => {
    const c = make();
    const seen: unknown[] = [];
    const stop1 = c.subscribe({ topic: 'now' }, {});
    last().open();
    last().say({ id: 1, seq: 1, kind: 'snapshot', data: { at: 5 } });
    const stop2 = c.subscribe({ topic: 'now' }, { data: (d) => seen.push(d) });
    expect(seen).toEqual([{ at: 5 }]);
    expect(last().sent.length).toBe(1);
    stop1();
    expect(last().sent.length).toBe(1);
    const socket = last();
    stop2();
    expect(socket.sent.at(-1)).toEqual({ op: 'unsub', id: 1 });
    expect(socket.readyState).toBe(3);
    expect(c.getStatus().phase).toBe('idle');
  });

  it('asks again under a new id after a hole, and applies nothing in between', () => {
    const c = make();
    const seen: unknown[] = [];
    const gap = vi.fn();
    c.subscribe({ topic: 'now' }, { data: (d) => seen.push(d), gap });
    last().open();
    last().say({ id: 1, seq: 1, kind: 'snapshot', data: { at: 1 } });
    last().say({ id: 1, seq: 3, kind: 'delta', data: { at: 3 } });
    expect(gap).toHaveBeenCalledTimes(1);
    expect(c.getStatus().gaps).toBe(1);
    expect(last().sent.slice(1)).toEqual([
      { op: 'unsub', id: 1 },
      { op: 'sub', id: 2, topic: 'now' },
    ]);
    last().say({ id: 1, seq: 4, kind: 'delta', data: { at: 4 } });
    last().say({ id: 2, seq: 1, kind: 'snapshot', data: { at: 5 } });
    last().say({ id: 2, seq: 2, kind: 'delta', data: { at: 6 } });
    expect(seen).toEqual([{ at: 1 }, { at: 5 }, { at: 6 }]);
  });

  it('waits for the snapshot a gap promises, and asks for it when it does not come', () => {
    const c = make();
    const seen: unknown[] = [];
    c.subscribe({ topic: 'now' }, { data: (d) => seen.push(d) });
    last().open();
    last().say({ id: 1, seq: 1, kind: 'snapshot', data: { at: 1 } });
    last().say({ id: 1, seq: 2, kind: 'gap' });
    last().say({ id: 1, seq: 3, kind: 'delta', data: { at: 3 } });
    expect(seen).toEqual([{ at: 1 }]);
    last().say({ id: 1, seq: 4, kind: 'snapshot', data: { at: 4 } });
    last().say({ id: 1, seq: 5, kind: 'delta', data: { at: 5 } });
    expect(seen.at(-1)).toEqual({ at: 5 });
    last().say({ id: 1, seq: 6, kind: 'gap' });
    vi.advanceTimersByTime(5000);
    expect(last().lastSub.id).toBe(2);
  });

  it('comes back with growing, jittered pauses and subscribes anew', () => {
    const c = make();
    c.subscribe({ topic: 'now' }, {});
    last().open();
    for (const wait of [500, 1000, 2000]) {
      const n = FakeSocket.all.length;
      last().close();
      expect(c.getStatus().phase).toBe('retrying');
      vi.advanceTimersByTime(wait - 1);
      expect(FakeSocket.all.length).toBe(n);
      vi.advanceTimersByTime(1);
      expect(FakeSocket.all.length).toBe(n + 1);
    }
    last().open();
    expect(last().sent).toHaveLength(1);
    expect(c.getStatus()).toMatchObject({ phase: 'open', attempts: 0 });
    last().close();
    vi.advanceTimersByTime(500);
    for (let i = 0; i < 20; i++) {
      last().close();
      vi.advanceTimersByTime(30_000);
    }
    expect(c.getStatus().attempts).toBe(21);
  });

  it('takes a silent line for dead', () => {
    const c = make();
    c.subscribe({ topic: 'now' }, {});
    const first = last();
    first.open();
    vi.advanceTimersByTime(39_000);
    first.say({ kind: 'ping', t: Date.now() });
    vi.advanceTimersByTime(39_000);
    expect(c.getStatus().phase).toBe('open');
    vi.advanceTimersByTime(1_500);
    expect(first.readyState).toBe(3);
    expect(FakeSocket.all.length).toBe(2);
  });

  it('rests while paused and goes on afterwards', () => {
    const c = make();
    c.subscribe({ topic: 'now' }, {});
    last().open();
    c.pause();
    expect(last().readyState).toBe(3);
    vi.advanceTimersByTime(120_000);
    expect(FakeSocket.all.length).toBe(1);
    c.subscribe({ topic: 'self' }, {});
    expect(FakeSocket.all.length).toBe(1);
    c.resume();
    last().open();
    expect(last().sent.map((m) => m.topic)).toEqual(['now', 'self']);
  });

  it('learns how far its clock is from the server', () => {
    const c = make();
    c.subscribe({ topic: 'now' }, {});
    last().open();
    last().say({ kind: 'ping', t: Date.now() - 7000 });
    expect(c.getStatus().skew).toBe(7000);
  });

  it('tells errors to those who asked and survives messages it cannot read', () => {
    vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const c = make();
    const error = vi.fn();
    c.subscribe({ topic: 'pipeline', key: 'nope' }, { error });
    last().open();
    last().say({ id: 1, kind: 'error', error: 'cannot find pipeline "nope"' });
    expect(error).toHaveBeenCalledWith('cannot find pipeline "nope"');
    last().onmessage?.({ data: 'not json' });
    expect(c.getStatus().phase).toBe('retrying');
    vi.advanceTimersByTime(500);
    expect(FakeSocket.all.length).toBe(2);
  });
});
