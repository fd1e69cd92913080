import type { ConfigFinding } from '../../../api/types';
import { Shape, type Tone } from '../../../components/state';

const KINDS: Record<string, { tone: Tone; word: string }> = {
  error: { tone: 'lose', word: 'error' },
  missing: { tone: 'late', word: 'declared, not seen' },
  extra: { tone: 'late', word: 'seen, not declared' },
  differs: { tone: 'late', word: 'differs' },
  note: { tone: 'unk', word: 'note' },
};

/** Complaints and differences, each with its line. */
export function Findings({ findings, empty }: { findings: readonly ConfigFinding[]; empty: string }) {
  if (findings.length === 0) return <p className="mut">{empty}</p>;
  return (
    <ul className="findings">
      {findings.map((f) => {
        const k = KINDS[f.kind] ?? { tone: 'unk' as Tone, word: f.kind };
        return (
          <li key={`${f.kind}${f.line}${f.text}`}>
            <span className="mark nowrap">
              <Shape tone={k.tone} size={10} /> {k.word}
            </span>
            <span className="mut nowrap">{f.line > 0 ? `line ${f.line}` : ''}</span>
            <span>{f.text}</span>
          </li>
        );
      })}
    </ul>
  );
}
