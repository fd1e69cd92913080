// Traces through the pipeline's services: all, the slow ones, the failed ones.
import { useTraces } from '../../api/hooks';
import { list, type Pipeline, type StageRow } from '../../api/types';
import { Go } from '../../components/link';
import { useRows } from '../../components/rows';
import { NothingMatches, Screen } from '../../components/screen';
import { Segmented } from '../../components/segmented';
import { TraceTable } from '../../components/trace-table';
import { spanDuration } from '../../lib/format';
import { useGo, useRange, useView } from '../../state/use-view';

const LIMIT = 50;

/** Services of all stages, those of the slowest stage first. */
export function servicesOf(stages: readonly StageRow[], slowest: string): string[] {
  const sorted = [...stages].sort((a, b) => Number(b.stage === slowest) - Number(a.stage === slowest));
  return [...new Set(sorted.flatMap((s) => (list(s.services).length > 0 ? list(s.services) : [s.stage])))];
}

/** What counts as slow: the p95 from the origin to the slowest stage, else one second. */
export function slowFrom(data: Pipeline): number {
  const p95 = Math.max(0, ...list(data.latency).map((l) => l.p95));
  return p95 > 0 ? p95 : 1;
}

export function TracesTab({ data }: { data: Pipeline }) {
  const [view, set] = useView();
  const go = useGo();
  const range = useRange(view, 'now-1h');
  const services = servicesOf(list(data.stages), data.slowest);
  const service = services.includes(view.service) ? view.service : (services[0] ?? data.slowest);
  const slow = slowFrom(data);
  const answer = useTraces(
    range.key,
    range.now,
    {
      service,
      limit: LIMIT,
      ...(view.state === 'failed' ? { error: true } : {}),
      // Two digits are enough to say it, and keep the question the same while the figure moves.
      ...(view.state === 'slow' ? { min: Number(slow.toPrecision(2)) } : {}),
    },
    view.live && range.relative,
    service !== '',
  );
  const rows = list(answer.data?.traces);
  const [cursor] = useRows(rows.length, (i) => rows[i] && go(`/t/${rows[i].id}`));
  return (
    <>
      <div className="row">
        <Segmented
          label="Which traces"
          value={view.state}
          onChange={(state) => set({ state })}
          choices={[
            { value: '', label: 'All' },
            { value: 'slow', label: `Slower than ${spanDuration(Number(slow.toPrecision(2)))}` },
            { value: 'failed', label: 'Failed' },
          ]}
        />
        {services.length > 1 ? (
          <label className="field">
            <span className="mut">Service</span>
            <select value={service} onChange={(e) => set({ service: e.target.value })}>
              {services.map((s) => (
                <option key={s}>{s}</option>
              ))}
            </select>
          </label>
        ) : null}
        <span className="grow" />
        <Go to="/traces" view={{ service, error: view.state === 'failed' }}>
          Search all traces
        </Go>
      </div>
      <Screen answer={answer} what={`traces through ${service}`} bones={[300]}>
        {() => (
          <div className="card">
            {rows.length > 0 ? (
              <TraceTable rows={rows} zone={view.tz} cursor={cursor} open={(t) => go(`/t/${t.id}`)} />
            ) : (
              <NothingMatches
                what={`${view.state || 'any'} trace through ${service} in this range`}
                clear={view.state ? () => set({ state: '' }) : undefined}
              />
            )}
          </div>
        )}
      </Screen>
    </>
  );
}
