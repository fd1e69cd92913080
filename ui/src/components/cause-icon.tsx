// One small drawing per class of cause, beside its word.

const PATHS: Record<string, string> = {
  skew: 'M2 12V9M6 12V3M10 12V8',
  poison: 'M7 1.500a5.500 5.500 0 1 0 .01 0M4.500 4.500l5 5M9.500 4.500l-5 5',
  stopped: 'M3 3h8v8H3Z',
  rebalancing: 'M2 5h9L8.500 2.500M12 9H3l2.500 2.500',
  throttled: 'M2 10a5.500 5.500 0 1 1 10 0M7 8.500 9.500 5',
  saturated: 'M2 2h10v10H2ZM2 5.300h10M2 8.600h10',
  dependency: 'M3.500 5a2 2 0 1 1 .01 0M10.500 13a2 2 0 1 1 .01 0M5 4.500l4.200 5',
  surge: 'M2 11 6 7l2 2 4-6M8.500 3H12v3.500',
  deploy: 'M7 9V2M4 5l3-3 3 3M2 9v3h10V9',
  slow: 'M7 1.500a5.500 5.500 0 1 0 .01 0M7 4v3l2.200 1.600',
  stalled: 'M4.500 3v8M9.500 3v8',
  draining: 'M7 2v8M4 7l3 3 3-3M2 12.500h10',
  late: 'M7 1.500a5.500 5.500 0 1 0 .01 0M7 4v3l2.200 1.600',
};

export function CauseIcon({ kind }: { kind: string }) {
  return (
    <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden>
      <path
        d={PATHS[kind] ?? PATHS.late}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.500"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
