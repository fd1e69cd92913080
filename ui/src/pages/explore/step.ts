// Steps people can read on an axis.
const NICE = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];

/** Seconds between points so that a range has about `points` of them. */
export function niceStep(rangeMs: number, points = 360): number {
  const want = rangeMs / 1000 / points;
  return NICE.find((s) => s >= want) ?? Math.ceil(want / 86_400) * 86_400;
}
