// What was lost, where, since when? The ledger of edges and stages, and the incidents in it.
import { useIncidents, useLoss } from '../../api/hooks';
import { type Incident, type Loss, list } from '../../api/types';
import { FilterField } from '../../components/filter-field';
import { NothingYet, Partial, Screen } from '../../components/screen';
import { Segmented } from '../../components/segmented';
import { useSettled } from '../../components/settled';
import { Tabs } from '../../components/tabs';
import { useTitle } from '../../components/title';
import { count } from '../../lib/format';
import { useRange, useView } from '../../state/use-view';
import { Incidents } from './incidents';
import { Ledger } from './ledger';

const SNIPPET = `# a stage counts what it takes and what it hands on, per minute of event time
weir.audit.in:5000|c|#p:orders,st:enrich,dst:orders,g:enrich,ew:1764100800
weir.audit.out:4990|c|#p:orders,st:enrich,dst:enriched,ew:1764100800
weir.audit.filtered:10|c|#p:orders,st:enrich,ew:1764100800`;

const RANGES = [
  { value: 'now-1h', label: '1 h' },
  { value: 'now-24h', label: '24 h' },
  { value: 'now-7d', label: '7 d' },
];
/** Characters of a search that the server takes. */
const MOST = 200;
const VIEWS = ['Ledger', 'Incidents'];

export function LossPage() {
  const [view] = useView();
  const range = useRange(view, 'now-24h');
  const isDefault = range.from === 'now-24h' && range.to === 'now';
  const on = view.live && range.relative;
  const q = useSettled(view.f.trim().slice(0, MOST)) || undefined;
  const verdict = view.state === 'loss' || view.state === 'unknown' ? view.state : undefined;
  const answer = useLoss(range.key, range.now, { q, verdict }, on, isDefault);
  const incidents = useIncidents(range.key, range.now, { q }, on, isDefault);
  useTitle('Loss');
  return (
    <Screen answer={answer} what="the loss ledger" bones={[30, 300, 320]}>
      {(data) => <Content data={data} runs={list(incidents.data?.incidents)} incidents={incidents} />}
    </Screen>
  );
}

function Content({
  data,
  runs,
  incidents,
}: {
  data: Loss;
  runs: readonly Incident[];
  incidents: ReturnType<typeof useIncidents>;
}) {
  const [view, set] = useView();
  const range = useRange(view, 'now-24h');
  const tab = view.tab === 'incidents' ? 'Incidents' : 'Ledger';
  const { found } = data;
  return (
    <>
      <div className="row base">
        <h1>Loss</h1>
        <span className="mut">
          in = out + filtered + dead letters + in flight + <b>lost</b>, per window of event time
        </span>
        <span className="grow" />
        {tab === 'Ledger' ? (
          <Segmented
            label="Verdict"
            value={view.state}
            onChange={(state) => set({ state })}
            choices={[
              { value: '', label: `All ${count(found.all)}` },
              { value: 'loss', label: `Loss ${count(found.loss)}` },
              { value: 'unknown', label: `Unknown ${count(found.unknown)}` },
            ]}
          />
        ) : null}
        <FilterField label="Search the ledger: pipeline, stage, edge, class or reason" placeholder="Search" />
        <Segmented
          label="Range"
          value={range.to === 'now' ? range.from : ''}
          onChange={(from) =>
            set({ from: from === 'now-24h' ? '' : from, to: from === 'now-24h' ? '' : 'now' }, 'push')
          }
          choices={RANGES}
        />
      </div>
      <Partial completeness={data.completeness} />
      {data.watched === 0 && runs.length === 0 && !view.f ? (
        <NothingYet title="Nothing is counted yet in this range" snippet={SNIPPET}>
          Loss is found where both sides of an edge are counted. Brokers are watched by themselves; stages count with
          one line each:
        </NothingYet>
      ) : (
        <Tabs
          label="Views of the losses"
          tabs={VIEWS}
          value={tab}
          onChange={(t) => set({ tab: t === 'Ledger' ? '' : 'incidents' })}
        >
          {tab === 'Ledger' ? <Ledger data={data} runs={runs} /> : <Incidents answer={incidents} />}
        </Tabs>
      )}
    </>
  );
}
