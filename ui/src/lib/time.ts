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

/** Unix ms of a written time, where it names no zone in that of the page; undefined when it cannot be read. */
export function parseTime(text: string, now: number, zone: string): number | undefined {
  const t = text.trim();
  if (t === 'now') return now;
  const relative = /^now-(.+)$/.exec(t);
  if (relative) {
    const ms = parseSpan(relative[1] as string);
    return ms === undefined ? undefined : now - ms;
  }
  if (/^\d{10,15}$/.test(t)) return t.length <= 11 ? Number(t) * 1000 : Number(t);
  const wall = WALL.exec(t);
  if (wall)
    return momentOf(
      wall.slice(1).map((n) => Number(n ?? 0)),
      zone,
    );
  if (ZONED.test(t)) {
    const ms = Date.parse(t);
    return Number.isNaN(ms) ? undefined : ms;
  }
  return undefined;
}

const WALL = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?$/;
const ZONED = /^\d{4}-\d\d-\d\d[T ].*(?:Z|UTC|GMT|[+-]\d\d:?\d\d)$/i;

/** A time as a clock on the wall shows it, but no moment yet. */
export const isWall = (text: string) => WALL.test(text.trim());

/** ms by which the clocks of a zone are before UTC at a moment. */
function offset(ms: number, zone: string): number {
  const part: Record<string, number> = {};
  for (const { type, value } of format(zone, 'wall', {
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  }).formatToParts(ms))
    part[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(ms / 1000) * 1000;
}

/**
 * The moment at which the clocks of a zone show a time. A time that comes twice when clocks go back is
 * its first; one that is left out when they go forward lies as far behind the change.
 */
function momentOf(wall: number[], zone: string): number | undefined {
  const [year = 0, month = 1, date = 1, hour = 0, minute = 0, second = 0] = wall;
  const utc = Date.UTC(year, month - 1, date, hour, minute, second);
  const read = new Date(utc);
  const exists = read.getUTCFullYear() === year && read.getUTCMonth() === month - 1 && read.getUTCDate() === date;
  if (!exists || hour > 23 || minute > 59 || second > 59) return undefined;
  const [before, after] = [offset(utc - 86_400e3, zone), offset(utc + 86_400e3, zone)];
  return [before, after].map((o) => utc - o).find((ms) => utc - ms === offset(ms, zone)) ?? utc - before;
}

export interface Range {
  from: number;
  to: number;
}

/** Both ends in Unix ms; falls back to the last hour when they make no range. */
export function resolve(from: string, to: string, now: number): Range {
  // The URL's reader has made moments of times without a zone.
  const a = parseTime(from, now, 'local');
  const b = parseTime(to, now, 'local');
  if (a === undefined || b === undefined || a >= b) return { from: now - 3600e3, to: now };
  return { from: a, to: b };
}

/** Does the range end now, and so go on? */
export const isRelative = (to: string) => to === 'now';

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
  const end = to === 'now' ? 'now' : `${sameDay ? '' : `${day(r.to, zone)} `}${clock(r.to, zone)}`;
  return `${day(r.from, zone)} ${clock(r.from, zone)} – ${end}`;
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

/** `when` with seconds. */
export function whenSeconds(ms: number, zone: string, now: number): string {
  return day(ms, zone) === day(now, zone) ? clockSeconds(ms, zone) : `${day(ms, zone)} ${clockSeconds(ms, zone)}`;
}

/** Both ends of a range in words: `25 Nov 2026, 13:40:00 to 14:40:00 UTC`. */
export function spanText(from: number, to: number, zone: string): string {
  const end = day(from, zone) === day(to, zone) && to - from < 86_400e3 ? clockSeconds(to, zone) : full(to, zone);
  return `${full(from, zone)} to ${end} ${zoneName(zone, to)}`;
}

/** Name of the zone at a shown time, for chips and axes: `UTC`, `CEST`, `America/New York`. */
export function zoneName(zone: string, at: number): string {
  if (zone !== 'local') return zone.replaceAll('_', ' ');
  const part = format(zone, 'zone', { timeZoneName: 'short' })
    .formatToParts(at)
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
