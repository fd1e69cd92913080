// Sentences come from the server with times in UTC; a reader sees them in the zone of the page.
import { clock, clockSeconds, day } from './time';

const STAMP = '(?:(\\d{4}-\\d\\d-\\d\\d) )?(\\d\\d:\\d\\d(?::\\d\\d)?)';
const TOLD = new RegExp(`${STAMP}(?: to ${STAMP})? UTC`, 'g');
const HALF_DAY = 12 * 3600e3;

interface Moment {
  ms: number;
  /** The sentence names the day. */
  dated: boolean;
  seconds: boolean;
}

/** A time without a day is the one nearest to `near`. */
function moment(date: string | undefined, time: string, near: number): Moment {
  const at = (d: string) => Date.parse(`${d}T${time.length === 5 ? `${time}:00` : time}Z`);
  let ms = at(date ?? new Date(near).toISOString().slice(0, 10));
  if (!date && ms - near > HALF_DAY) ms -= 2 * HALF_DAY;
  if (!date && near - ms > HALF_DAY) ms += 2 * HALF_DAY;
  return { ms, dated: date !== undefined, seconds: time.length > 5 };
}

/** A sentence with its times in the zone of the page; the day is named where it is not today. */
export function told(text: string, zone: string, now: number): string {
  if (zone === 'UTC') return text;
  return text.replace(TOLD, (_, d1?: string, t1?: string, d2?: string, t2?: string) => {
    const say = (m: Moment, today: number) =>
      `${m.dated && day(m.ms, zone) !== day(today, zone) ? `${day(m.ms, zone)} ` : ''}${(m.seconds ? clockSeconds : clock)(m.ms, zone)}`;
    const from = moment(d1, t1 as string, now);
    if (!t2) return say(from, now);
    const to = moment(d2, t2, from.ms);
    return `${say(from, now)} to ${say({ ...to, dated: true }, from.ms)}`;
  });
}
