// Where is the data stuck?
import { useParams } from '@tanstack/react-router';
import { ApiError } from '../../api/client';
import { useAlerts, useLoss, usePipeline, usePipelines, useTraces } from '../../api/hooks';
import { type Edge, list, type Pipeline } from '../../api/types';
import { useClock } from '../../components/clock';
import { Go } from '../../components/link';
import { NothingMatches, Partial, Screen } from '../../components/screen';
import { State, toneOf } from '../../components/state';
import { Tabs } from '../../components/tabs';
import { useTitle } from '../../components/title';
import { duration } from '../../lib/format';
import { resolve, when } from '../../lib/time';
import { useRange, useView } from '../../state/use-view';
import { nearest } from '../pipelines/rows';
import { History } from './history';
import { FlowMap } from './map';
import { NodePanel } from './node-panel';
import { Partitions } from './partitions';
import './pipeline.css';
import { Stages } from './stages';
import { AlertsTab, LossTab, TracesTab } from './tabs';

export function PipelinePage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const [view] = useView();
  const answer = usePipeline(id, view.live);
  useTitle(answer.data ? `${id} ${answer.data.state}` : id);
  if (answer.error instanceof ApiError && answer.error.status === 404 && !answer.data)
    return <NoSuchPipeline id={id} />;
  return (
    <Screen answer={answer} what={`pipeline ${id}`} bones={[30, 60, 200, 30, 260]}>
      {(data) => <Content data={data} id={id} />}
    </Screen>
  );
}

function NoSuchPipeline({ id }: { id: string }) {
  const rows = list(usePipelines(false).data?.pipelines);
  return (
    <div className="card">
      <NothingMatches what={`the pipeline “${id}”`} near={nearest(rows, id)} />
      <div className="row" style={{ justifyContent: 'center', paddingBottom: 20 }}>
        <Go to="/pipelines" className="btn">
          All pipelines
        </Go>
      </div>
    </div>
  );
}

const DAY = 86_400_000;

function Content({ data, id }: { data: Pipeline; id: string }) {
  const [view, set] = useView();
  const range = useRange(view, 'now-1h');
  const nodes = list(data.nodes);
  const edges = list(data.edges) as readonly Edge[];
  const stages = list(data.stages);
  const partitions = list(data.partitions);
  const stage = data.slowest || nodes.find((n) => n.kind === 'stage')?.name || '';
  const traces = useTraces(range.key, range.now, { service: stage, limit: 20 }, false, stage !== '');
  const dayRange = () => resolve('now-24h', 'now', Date.now());
  const loss = useLoss('now-24h..now', dayRange, id, view.live, true);
  const alerts = list(useAlerts(view.live).data?.alerts).filter((a) => a.pipeline === id);
  const lossRows = list(loss.data?.rows);
  const traceRows = list(traces.data?.traces);
  const tabs = [
    'Map',
    ...(stages.length > 0 ? ['Stages'] : []),
    ...(partitions.length > 0 ? ['Partitions'] : []),
    ...(traceRows.length > 0 ? ['Traces'] : []),
    ...(lossRows.length > 0 ? ['Loss'] : []),
    ...(alerts.length > 0 ? ['Alerts'] : []),
  ];
  const wanted = tabs.find((t) => t.toLowerCase() === view.tab);
  const tab = wanted ?? 'Map';
  const node = nodes.find((n) => n.id === view.sel);
  return (
    <>
      <Head data={data} id={id} />
      {data.sentence ? (
        <div className={`card pad banner ${toneOf(data.state)}`}>
          <b>{firstSentence(data.sentence)}</b> {restOf(data.sentence)}{' '}
          {data.evidence ? <span className="mut">Evidence: {data.evidence}.</span> : null}
        </div>
      ) : null}
      <Partial completeness={data.completeness} />
      {nodes.length > 0 ? (
        <section className="card pad" aria-label="Map">
          <FlowMap nodes={nodes} edges={edges} chosen={view.sel} choose={(sel) => set({ sel })} />
          {node ? <NodePanel node={node} edges={edges} nodes={nodes} close={() => set({ sel: '' })} /> : null}
        </section>
      ) : null}
      <Tabs
        label="Views of the pipeline"
        tabs={tabs}
        value={tab}
        onChange={(t) => set({ tab: t === 'Map' ? '' : t.toLowerCase() })}
      >
        {tab === 'Map' ? <History data={data} id={id} /> : null}
        {tab === 'Stages' ? <Stages rows={stages} /> : null}
        {tab === 'Partitions' ? <Partitions rows={partitions} /> : null}
        {tab === 'Traces' ? <TracesTab rows={traceRows} service={stage} /> : null}
        {tab === 'Loss' ? <LossTab rows={lossRows} from={loss.data?.from ?? 0} to={loss.data?.to ?? 0} /> : null}
        {tab === 'Alerts' ? <AlertsTab rows={alerts} /> : null}
      </Tabs>
    </>
  );
}

function Head({ data, id }: { data: Pipeline; id: string }) {
  const [view] = useView();
  const now = useClock();
  const age = data.since > 0 ? (now - data.since) / 1000 : undefined;
  return (
    <div className="row">
      <nav className="row" aria-label="Breadcrumb" style={{ gap: 8 }}>
        <Go to="/pipelines" className="mut">
          Pipelines
        </Go>
        <span className="mut" aria-hidden>
          /
        </span>
        <h1>{id}</h1>
      </nav>
      <State state={data.state} />
      {age !== undefined && age * 1000 < 365 * DAY ? (
        <span className="mut">
          since {when(data.since, view.tz, now)}, {duration(age)}
        </span>
      ) : null}
      <span className="grow" />
      {data.freshness != null ? (
        <span className="mut">
          data at the sink is <b className="fresh">{duration(data.freshness)}</b> old
        </span>
      ) : (
        <span className="mut">age of the data at the sink is not known</span>
      )}
    </div>
  );
}

// The full stop that ends a sentence has a space behind it; the one in "6.9 k/s" has not.
const END = /[.:;](?=\s)/;
const firstSentence = (s: string) => {
  const i = s.search(END);
  return i < 0 ? s : s.slice(0, i + 1);
};
const restOf = (s: string) => s.slice(firstSentence(s).length).trim();
