// Figures of evidence in words a reader can weigh.

const LEVELS: Record<string, string> = {
  L0: 'offsets',
  L1: 'counters',
  L2: 'cells',
  L3: 'cells, ids',
  T: 'paired spans',
};

/** What a verdict rests on, short. */
export const evidence = (level: string): string => LEVELS[level] ?? (level || 'none');

const RESTS: Record<string, string> = {
  L0: 'the offsets of the broker',
  L1: 'the standard counters of both sides',
  L2: 'counts of both sides for each minute of event time',
  L3: 'counts and fingerprints of both sides for each minute of event time',
  T: 'spans paired by their links',
};

/** What a verdict rests on, as the end of a sentence. */
export const restsOn = (level: string): string => RESTS[level] ?? 'no evidence';

/** How sure, in words: the number alone says little to most readers. */
export function howSure(confidence: number): string {
  if (confidence >= 0.995) return 'as good as proved';
  if (confidence >= 0.95) return 'very likely';
  if (confidence >= 0.8) return 'likely';
  if (confidence >= 0.5) return 'probable, not proved';
  return confidence > 0 ? 'a hint, no more' : 'not known';
}

const CAUSES: Record<string, string> = {
  skew: 'Hot partition',
  poison: 'Poison record',
  stopped: 'Consumer stopped',
  rebalancing: 'Rebalancing',
  throttled: 'CPU throttled',
  saturated: 'Saturated',
  dependency: 'Slow dependency',
  surge: 'Input surge',
  deploy: 'After a deploy',
  slow: 'Slow stage',
  stalled: 'Stalled',
  draining: 'Draining',
  late: 'Late',
};

export const causeWord = (kind: string): string => CAUSES[kind] ?? kind;

/** `1 to 3`, or one of them where they are the same. */
export function between(a: string, b: string): string {
  return a === b ? a : `${a} to ${b}`;
}
