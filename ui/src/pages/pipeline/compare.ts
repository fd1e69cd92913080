// Comparing with another day: `cmp=1d` in the URL.
import { formatSpan, parseSpan, type Range } from '../../lib/time';

export const CHOICES = [
  { value: '', label: 'Off' },
  { value: '1d', label: 'Yesterday' },
  { value: '7d', label: 'Last week' },
] as const;

/** What `c` does next: off, yesterday, last week, off. */
export function next(cmp: string): string {
  const i = CHOICES.findIndex((c) => c.value === cmp);
  return CHOICES[(i + 1) % CHOICES.length]?.value ?? '';
}

/** ms back; 0 = no comparison. */
export const shiftOf = (cmp: string): number => (cmp ? (parseSpan(cmp) ?? 0) : 0);

const TURN = 60_000;

/** Names the minute while the range goes on: what was asked for in another is asked for anew. */
export const turn = (now: number, live: boolean): string => (live ? ` @${Math.floor(now / TURN)}` : '');

/** The same range earlier; while it goes on with two minutes ahead, so that it lasts until the next is here. */
export const earlier = ({ from, to }: Range, shift: number, live: boolean): Range => ({
  from: from - shift,
  to: to - shift + (live ? 2 * TURN : 0),
});

/** `yesterday`, `last week`, `3d earlier`. */
export function wordOf(cmp: string): string {
  const known = CHOICES.find((c) => c.value === cmp && c.value !== '');
  return known ? known.label.toLowerCase() : `${formatSpan(shiftOf(cmp))} earlier`;
}
