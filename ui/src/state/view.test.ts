import { describe, expect, it } from 'vitest';
import { absolute, carry, DEFAULT, decode, encode, isPast, parse, stringify, toggleLive, type View } from './view';

const through = (v: View) => decode(parse(stringify(encode(v)).slice(1)));

describe('the codec', () => {
  it('writes nothing for the default', () => {
    expect(encode(DEFAULT)).toEqual({});
    expect(stringify(encode(DEFAULT))).toBe('');
  });

  it('gives back what it wrote', () => {
    const views: Partial<View>[] = [
      { from: 'now-1h', to: 'now', tz: 'UTC', live: false },
      { from: '1764081600000', to: '1764085200000', live: false },
      { q: 'sum by (door) (rate(weir_x{a="b & c",d=~"e+f|%"}[1m])) > 0' },
      { sel: 'transport/clicks/sink-es → clicks-2026', w: '1764081600' },
      { service: 'enrich', name: 'process orders', attr: 'a=b=c', min: '250ms', max: '2m', error: true },
      { tab: 'partitions', state: 'LATE', f: 'ord', sort: 'lag', grp: 'orders~enrich', sys: 'kafka' },
      { cmp: '1d', wi: 'consumers:6,rate:1.5' },
    ];
    for (const v of views) expect(through({ ...DEFAULT, ...v })).toEqual({ ...DEFAULT, ...v });
  });

  it('keeps any text whole', () => {
    // A small generator instead of a library: printable characters, including those that mean something in a URL.
    let seed = 42;
    const random = () => {
      seed = (seed * 16807) % 2147483647;
      return seed / 2147483647;
    };
    for (let i = 0; i < 300; i++) {
      const q = Array.from({ length: 1 + Math.floor(random() * 30) }, () =>
        String.fromCharCode(33 + Math.floor(random() * 700)),
      ).join('');
      expect(through({ ...DEFAULT, q }).q).toBe(q);
    }
  });

  it('opens a mistyped link with the defaults', () => {
    expect(decode({ from: 'yesterday', to: 'now' }).from).toBe('');
    expect(decode({ from: 'now', to: 'now-1h' }).from).toBe('');
    expect(decode({ tz: 'Mars/Olympus' }).tz).toBe('local');
    expect(decode({ live: 'maybe', error: 'yes', w: '12x', cmp: 'yesterday' })).toEqual(DEFAULT);
    expect(decode({ nonsense: '1' })).toEqual(DEFAULT);
    expect(decode({ q: 'x'.repeat(100_000) }).q.length).toBe(8000);
  });

  it('keeps relative ranges relative, and adds the end', () => {
    expect(decode({ from: 'now-6h' })).toEqual({ ...DEFAULT, from: 'now-6h', to: 'now' });
  });

  it('reads times without a zone in the zone of the page, and keeps the moments', () => {
    const v = decode({ from: '2026-07-01', to: '2026-07-01T14:00', tz: 'Europe/Berlin' });
    expect(v.from).toBe(String(Date.parse('2026-06-30T22:00Z')));
    expect(v.to).toBe(String(Date.parse('2026-07-01T12:00Z')));
    expect(decode(encode({ ...v, tz: 'UTC' }))).toEqual({ ...v, tz: 'UTC' });
    expect(decode({ from: '2026-07-01T00:00Z', tz: 'Europe/Berlin' })).toMatchObject({
      from: '2026-07-01T00:00Z',
      to: 'now',
    });
  });

  it('takes time, zone and live to another page and nothing else', () => {
    const v = { ...DEFAULT, from: 'now-6h', to: 'now', tz: 'UTC', live: false, q: 'up', sel: 'x', f: 'y' };
    expect(carry(v)).toEqual({ from: 'now-6h', to: 'now', tz: 'UTC', live: '0' });
  });

  it('makes an absolute link', () => {
    const v = absolute({ ...DEFAULT, q: 'up' }, 'now-24h', 100 * 86_400e3);
    expect(v).toEqual({ ...DEFAULT, q: 'up', from: String(99 * 86_400e3), to: String(100 * 86_400e3), live: false });
  });

  it('comes back to now from a range of the past, and pauses one that goes on', () => {
    const zoomed = { ...DEFAULT, from: '1764081600000', to: '1764085200000', live: false };
    const since = { ...DEFAULT, from: '1764081600000', to: 'now' };
    const now = { live: true, from: '', to: '' };
    expect([DEFAULT, since, zoomed].map(isPast)).toEqual([false, false, true]);
    expect(toggleLive(zoomed, true)).toEqual(now);
    expect(toggleLive({ ...zoomed, live: true }, true)).toEqual(now);
    expect(toggleLive(DEFAULT, true)).toEqual({ live: false });
    expect(toggleLive(since, true)).toEqual({ live: false });
    expect(toggleLive({ ...since, live: false }, true)).toEqual({ live: true });
    // A page that reads no range is live under any; resumed, it forgets the one it carries.
    expect(toggleLive({ ...zoomed, live: true }, false)).toEqual({ live: false });
    expect(toggleLive(zoomed, false)).toEqual(now);
  });

  it('takes the first of a repeated name', () => {
    expect(parse('q=a&q=b')).toEqual({ q: 'a' });
  });
});
