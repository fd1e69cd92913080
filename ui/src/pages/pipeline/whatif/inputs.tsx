import type { Forecast } from '../../../api/types';
import { duration, rate } from '../../../lib/format';
import { Slider } from './slider';
import type { Change } from './state';

/** Hours a record is kept, in steps that people choose. */
const KEEP = [0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 24, 36, 48, 72, 120, 168, 336, 720].map((h) => h * 3600);

const nearest = (seconds: number) =>
  KEEP.reduce((best, k, i) => (Math.abs(k - seconds) < Math.abs((KEEP[best] as number) - seconds) ? i : best), 0);

const times = (n: number) => `× ${n.toFixed(2).replace(/\.?0+$/, '')}`;

/** The five things that can be changed. */
export function Inputs({ base, change, set }: { base: Forecast; change: Change; set: (c: Change) => void }) {
  const put = (key: keyof Change) => (value: number | undefined) => {
    const next = { ...change, [key]: value };
    if (value === undefined) delete next[key];
    set(next);
  };
  const partitions = change.partitions ?? base.partitions;
  const most = Math.max(8, 2 * (base.consumers ?? 4), Math.min(partitions, 64) + 4, change.consumers ?? 0);
  return (
    <div className="inputs">
      <Slider
        label="Consumers"
        value={change.consumers}
        base={base.consumers ?? undefined}
        min={1}
        max={most}
        step={1}
        say={(n) => String(n)}
        onChange={put('consumers')}
      />
      <Slider
        label="Inflow"
        value={change.inflow}
        base={1}
        min={0.1}
        max={Math.max(3, change.inflow ?? 0)}
        step={0.05}
        say={times}
        onChange={put('inflow')}
      />
      <Slider
        label="Each consumer takes"
        value={change.each}
        base={1}
        min={0.25}
        max={Math.max(4, change.each ?? 0)}
        step={0.05}
        say={(n) => (base.per_consumer == null ? times(n) : `${times(n)}, ${rate(base.per_consumer * n)}/s`)}
        onChange={put('each')}
      />
      <Slider
        label="Retention"
        value={change.keep === undefined ? undefined : nearest(change.keep)}
        base={base.retention == null ? undefined : nearest(base.retention)}
        min={0}
        max={KEEP.length - 1}
        step={1}
        say={(i) => duration(KEEP[i])}
        onChange={(i) => put('keep')(i === undefined ? undefined : KEEP[i])}
      />
      <Slider
        label="Partitions"
        value={change.partitions}
        base={base.partitions}
        min={1}
        max={Math.max(12, 4 * base.partitions, change.partitions ?? 0)}
        step={1}
        say={(n) => String(n)}
        onChange={put('partitions')}
      />
    </div>
  );
}
