// State is always a shape, a word and a colour together (product.md 4.6).

export type Tone = 'ok' | 'late' | 'lose' | 'unk';

const TONES: Record<string, Tone> = {
  OK: 'ok',
  DRAINING: 'ok',
  EXPLAINED: 'ok',
  BALANCED: 'ok',
  FILTERED: 'ok',
  RESOLVED: 'ok',
  LATE: 'late',
  PENDING: 'late',
  DUPLICATES: 'late',
  WARNING: 'late',
  LOSING: 'lose',
  LOSS: 'lose',
  MIXED: 'lose',
  PROBABLE_LOSS: 'lose',
  RETENTION_LOSS: 'lose',
  SKIPPED: 'lose',
  ANOMALY: 'late',
  FIRING: 'lose',
  CRITICAL: 'lose',
};

/** Tone of a state or verdict; a word nobody knows is unknown, never OK. IDLE is quiet, not good. */
export const toneOf = (state: string | undefined): Tone =>
  TONES[(state ?? '').replace(/\(.*/, '').trim().toUpperCase()] ?? 'unk';

export function Shape({ tone, size = 11 }: { tone: Tone; size?: number }) {
  const common = { width: size, height: size, viewBox: '0 0 12 12' };
  switch (tone) {
    case 'ok':
      return (
        <svg {...common} aria-hidden>
          <circle cx="6" cy="6" r="4.800" fill="var(--ok)" />
        </svg>
      );
    case 'late':
      return (
        <svg {...common} aria-hidden>
          <path d="M6 .6 11.800 11.200H.2Z" fill="var(--late)" />
        </svg>
      );
    case 'lose':
      return (
        <svg {...common} aria-hidden>
          <path d="M1.800 1.800 10.200 10.200M10.200 1.800 1.800 10.200" stroke="var(--lose)" strokeWidth="2.800" />
        </svg>
      );
    default:
      return (
        <svg {...common} aria-hidden>
          <path
            d="M6 1 11 6 6 11 1 6Z"
            fill="none"
            stroke="var(--unk)"
            strokeWidth="1.600"
            strokeDasharray="2.400 1.500"
          />
        </svg>
      );
  }
}

function Quiet() {
  return (
    <svg width="11" height="11" viewBox="0 0 12 12" aria-hidden>
      <circle cx="6" cy="6" r="4.300" fill="none" stroke="var(--unk)" strokeWidth="1.600" />
    </svg>
  );
}

/** Neither good nor bad nor unknown: nothing flows, or the window is not settled yet. */
export const isQuiet = (state: string | undefined): boolean => state === 'IDLE' || state === 'IN_FLIGHT';

/** The badge: shape, word, colour. */
export function State({ state, word }: { state: string | undefined; word?: string }) {
  const tone = toneOf(state);
  const text = word ?? (state || 'NO DATA').replace(/_/g, ' ').toUpperCase();
  return (
    <span className={`st ${tone}`}>
      {isQuiet(state) ? <Quiet /> : <Shape tone={tone} />}
      {text}
    </span>
  );
}
