// Which forecasts answer "until when": the backlog that is gone last, and the deletion that comes first.
import { type Forecast, list, type Pipeline } from '../../api/types';

export interface Outlook {
  /** Its backlog is gone last; undefined = nobody can say, or nothing waits. */
  drains?: Forecast;
  /** Its unread records are deleted first. */
  deletes?: Forecast;
  /** How long records are kept is known of some queue. */
  kept: boolean;
}

const WAITS = new Set(['LATE', 'DRAINING']);

/** Undefined where nothing is worth a line: neither late nor draining, and nothing will be deleted unread. */
export function outlookOf({ state, forecasts }: Pick<Pipeline, 'state' | 'forecasts'>): Outlook | undefined {
  const all = list(forecasts);
  const waiting = all.filter((f) => f.drain);
  const deleting = all.filter((f) => f.loss_in?.value != null);
  // LOSING hides that a pipeline is late as well; its backlog tells.
  if (!WAITS.has(state) && deleting.length === 0 && !(state === 'LOSING' && waiting.length > 0)) return undefined;
  const gone = (f: Forecast) => f.drain?.value ?? Number.POSITIVE_INFINITY;
  const gap = (f: Forecast) => f.loss_in?.value as number;
  const drains = waiting.reduce<Forecast | undefined>((a, b) => (a && gone(a) >= gone(b) ? a : b), undefined);
  const deletes = deleting.reduce<Forecast | undefined>((a, b) => (a && gap(a) <= gap(b) ? a : b), undefined);
  return { drains, deletes, kept: all.some((f) => f.retention != null) };
}
