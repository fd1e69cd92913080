// Which pipeline is late, and is it getting worse?
import { useMemo } from 'react';
import { usePipelines } from '../../api/hooks';
import { list, type PipelineRow, type Pipelines } from '../../api/types';
import { FilterField } from '../../components/filter-field';
import { useKeys } from '../../components/keys';
import { PipelinesTable, type SortKey } from '../../components/pipelines-table';
import { RetentionWarning } from '../../components/retention-warning';
import { RowKeys } from '../../components/row-keys';
import { useRows } from '../../components/rows';
import { NothingMatches, NothingYet, Partial, Screen } from '../../components/screen';
import { Segmented } from '../../components/segmented';
import { useTitle } from '../../components/title';
import { useGo, useView } from '../../state/use-view';
import { countsSentence, filterRows, nearest, sortRows, stateChoices } from './rows';

const SNIPPET = () => `# count what goes in and out of a stage (statsd, UDP 8125)
printf "weir.audit.in:1|c|#p:orders,st:enrich,dst:orders,g:enrich,ew:$(( $(date +%s) / 60 * 60 ))" | nc -u -w0 ${location.hostname} 8125

# or send traces with messaging attributes (OTLP)
export OTEL_EXPORTER_OTLP_ENDPOINT=http://${location.hostname}:4318`;

export function PipelinesPage() {
  const [view] = useView();
  const answer = usePipelines(view.live);
  useTitle('Pipelines');
  return (
    <Screen answer={answer} what="pipelines" bones={[30, 460]}>
      {(data) => <Content data={data} />}
    </Screen>
  );
}

function Content({ data }: { data: Pipelines }) {
  const [view, set] = useView();
  const go = useGo();
  const all = list(data.pipelines);
  const shown = useMemo(
    () => sortRows(filterRows(all, view.state, view.f), view.sort as SortKey),
    [all, view.state, view.f, view.sort],
  );
  const open = (row: PipelineRow | undefined) => row && go(`/p/${encodeURIComponent(row.id)}`);
  const [cursor] = useRows(shown.length, (i) => open(shown[i]));
  useKeys({ Escape: () => (view.f || view.state ? set({ f: '', state: '' }) : false) });

  if (all.length === 0)
    return (
      <>
        <h1>Pipelines</h1>
        <NothingYet title="No pipeline has been seen yet" snippet={SNIPPET()}>
          weir finds pipelines by itself from audit counters, messaging spans and brokers. Send it something:
        </NothingYet>
      </>
    );
  const counts = data.counts ?? {};
  return (
    <>
      <div className="row base">
        <h1>Pipelines</h1>
        <span className="mut">{countsSentence(counts)}</span>
        <span className="grow" />
        <Segmented
          label="State"
          choices={stateChoices(counts, all.length)}
          value={view.state}
          onChange={(state) => set({ state })}
        />
        <FilterField label="Filter pipelines" />
      </div>
      <Partial completeness={data.completeness} />
      <RetentionWarning rows={all} />
      <div className="card">
        {shown.length > 0 ? (
          <PipelinesTable
            rows={shown}
            cursor={cursor}
            open={open}
            sort={view.sort as SortKey}
            onSort={(sort) => set({ sort })}
          />
        ) : (
          <NothingMatches
            what={[view.state.toLowerCase(), view.f && `“${view.f}”`].filter(Boolean).join(' and ')}
            near={nearest(all, view.f)}
            clear={() => set({ f: '', state: '' })}
          />
        )}
      </div>
      <RowKeys />
    </>
  );
}
