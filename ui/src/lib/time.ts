// Time ranges as people write them and the URL keeps them: `now-1h`, `now`, Unix ms, RFC 3339.

const UNIT: Record<string, number> = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 7 * 86400e3 };

/** Milliseconds of `90s`, `1h`, `2h30m`; undefined when it is not a duration. */
export function parseSpan(text: string): number | undefined {
  if (!/^(\d+(?:\.\d+)?[smhdw])+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, n, unit] of text.matchAll(/(\d+(?:\.\d+)?)([smhdw])/g))
    ms += Number(n) * (UNIT[unit as string] as number);
  return ms > 0 ? ms : undefined;
}

/** The shortest writing of a span: 3600000 → `1h`. */
export function formatSpan(ms: number): string {
  for (const unit of ['w', 'd', 'h', 'm'] as const) {
    if (unit !== 'w' && ms >= (UNIT[unit] as number) && ms % (UNIT[unit] as number) === 0)
      return `${ms / (UNIT[unit] as number)}${unit}`;
  }
  return `${Math.round(ms / 1e3)}s`;
}

/** Unix ms of one end of a range; undefined when it cannot be read. */
export function parseTime(text: string, now: number): number | undefined {
  const t = text.trim();
  if (t === 'now') return now;
  const relative = /^now-(.+)$/.exec(t);
  if (relative) {
    const ms = parseSpan(relative[1] as string);
    return ms === undefined ? undefined : now - ms;
  }
  if (/^\d{10,15}$/.test(t)) return t.length <= 11 ? Number(t) * 1000 : Number(t);
  if (/^\d{4}-\d\d-\d\d/.test(t)) {
    const ms = Date.parse(t);
    return Number.isNaN(ms) ? undefined : ms;
  }
  return undefined;
}

export interface Range {
  from: number;
  to: number;
}

/** Both ends in Unix ms; falls back to the last hour when they make no range. */
export function resolve(from: string, to: string, now: number): Range {
  const a = parseTime(from, now);
  const b = parseTime(to, now);
  if (a === undefined || b === undefined || a >= b) return { from: now - 3600e3, to: now };
  return { from: a, to: b };
}

export const isRelative = (from: string, to: string) => from.startsWith('now') && to === 'now';

/** What the time chip says: `Last 1 hour`, or the two clocks. */
export function rangeLabel(from: string, to: string, zone: string): string {
  const m = to === 'now' && /^now-(.+)$/.exec(from);
  const ms = m ? parseSpan(m[1] as string) : undefined;
  if (ms !== undefined) {
    for (const [unit, word] of [
      ['d', 'day'],
      ['h', 'hour'],
      ['m', 'minute'],
    ] as const) {
      const size = UNIT[unit] as number;
      if (ms >= size && ms % size === 0 && !(word === 'day' && ms === size))
        return `Last ${ms / size} ${word}${ms === size ? '' : 's'}`;
    }
    return `Last ${formatSpan(ms)}`;
  }
  const r = resolve(from, to, Date.now());
  const sameDay = day(r.from, zone) === day(r.to, zone);
  return `${day(r.from, zone)} ${clock(r.from, zone)} – ${sameDay ? '' : `${day(r.to, zone)} `}${to === 'now' ? 'now' : clock(r.to, zone)}`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string, key: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const id = `${key}|${zone}`;
  let f = formats.get(id);
  if (!f) {
    f = new Intl.DateTimeFormat('en-GB', {
      ...options,
      hourCycle: 'h23',
      timeZone: zone === 'local' ? undefined : zone,
    });
    formats.set(id, f);
  }
  return f;
}

/** `14:02` */
export const clock = (ms: number, zone: string) =>
  format(zone, 'hm', { hour: '2-digit', minute: '2-digit' }).format(ms);
/** `14:02:31` */
export const clockSeconds = (ms: number, zone: string) =>
  format(zone, 'hms', { hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(ms);
/** `25 Nov` */
export const day = (ms: number, zone: string) => format(zone, 'd', { day: 'numeric', month: 'short' }).format(ms);
/** `25 Nov 2026, 14:02:31` */
export const full = (ms: number, zone: string) =>
  format(zone, 'full', {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  }).format(ms);

/** The clock, with the day before it when it is not today. */
export function when(ms: number, zone: string, now: number): string {
  return day(ms, zone) === day(now, zone) ? clock(ms, zone) : `${day(ms, zone)} ${clock(ms, zone)}`;
}

/** Name of the zone for chips and axes: `UTC`, `GMT+1`, `America/New York`. */
export function zoneName(zone: string): string {
  if (zone !== 'local') return zone.replace('_', ' ');
  const part = format(zone, 'zone', { timeZoneName: 'short' })
    .formatToParts(0)
    .find((p) => p.type === 'timeZoneName');
  return part?.value ?? 'local time';
}

/** True when the browser knows the zone. */
export function validZone(zone: string): boolean {
  if (zone === 'local') return true;
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}
