// The words of time axes: a clock, the day where one begins, and always the zone.
import { clock, clockSeconds, day, zoneName } from '../lib/time';

const DAY = 86_400_000;

/** Labels of the ticks of an axis, Unix ms: days where a step is one or more, and at each midnight. */
export function tickLabels(ticks: readonly number[], zone: string): string[] {
  const step = ticks.length > 1 ? (ticks[1] as number) - (ticks[0] as number) : 60_000;
  // A day in which clocks go forward has 23 hours.
  if (step >= DAY - 3_600_000) return ticks.map((t) => day(t, zone));
  return ticks.map((t) =>
    clockSeconds(t, zone) === '00:00:00' ? day(t, zone) : step < 60_000 ? clockSeconds(t, zone) : clock(t, zone),
  );
}

/** What stands at the end of an axis: the zone, and the day where that is not today. */
export function axisEnd(end: number, zone: string, now: number): string {
  return `${day(end, zone) === day(now, zone) ? '' : `${day(end, zone)}, `}${zoneName(zone, end)}`;
}

/** Labels of a few times that are no whole steps: the day wherever it is another than before. */
export function placeLabels(times: readonly number[], zone: string, now: number): string[] {
  const span = (times.at(-1) ?? 0) - (times[0] ?? 0);
  const oneDay = day(times[0] ?? 0, zone) === day(times.at(-1) ?? 0, zone);
  let said = oneDay && times.length > 0 && day(times[0] as number, zone) === day(now, zone) ? day(now, zone) : '';
  return times.map((t) => {
    const date = day(t, zone);
    // Over days the hour of a place says little, and there is no room for it.
    if (span > 3 * DAY) return date;
    if (date === said) return clock(t, zone);
    said = date;
    return `${date} ${clock(t, zone)}`;
  });
}
