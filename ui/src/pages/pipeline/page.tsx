// Where is the data stuck?
import { useParams } from '@tanstack/react-router';
import { lazy, Suspense } from 'react';
import { ApiError } from '../../api/client';
import { useAlerts, useLoss, usePipeline, usePipelines } from '../../api/hooks';
import { type Edge, list, type Pipeline } from '../../api/types';
import { CauseCard } from '../../components/cause';
import { useClock } from '../../components/clock';
import { Go } from '../../components/link';
import { OpenIncident } from '../../components/open-incident';
import { PastRange } from '../../components/past-range';
import { Origin } from '../../components/pipelines-table';
import { NothingMatches, Partial, Screen, Skeleton } from '../../components/screen';
import { State } from '../../components/state';
import { Tabs } from '../../components/tabs';
import { useTitle } from '../../components/title';
import { duration } from '../../lib/format';
import { resolve, when } from '../../lib/time';
import { useView } from '../../state/use-view';
import { nearest } from '../pipelines/rows';
import { AskBeforeLeaving } from './config/leave';
import { History } from './history';
import { FlowMap } from './map';
import { NodePanel } from './node-panel';
import { OutlookLine } from './outlook-line';
import { Partitions } from './partitions';
import './pipeline.css';
import { Stages } from './stages';
import { AlertsTab, LossTab, NothingHere } from './tabs';
import { TracesTab } from './traces';

// The editor is heavy; it comes with its tab.
const ConfigTab = lazy(() => import('./config/tab'));

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
/** States that an incident proves: records are lost, or nobody knows. */
const BROKEN = new Set(['LOSING', 'UNKNOWN']);
const TABS = ['Map', 'Stages', 'Partitions', 'Traces', 'Loss', 'Alerts', 'Config'] as const;

function Content({ data, id }: { data: Pipeline; id: string }) {
  const [view, set] = useView();
  const nodes = list(data.nodes);
  const edges = list(data.edges) as readonly Edge[];
  const stages = list(data.stages);
  const partitions = list(data.partitions);
  const dayRange = () => resolve('now-24h', 'now', Date.now());
  const loss = useLoss('now-24h..now', dayRange, { pipeline: id }, view.live, true);
  const alerts = useAlerts(view.live);
  const lossRows = list(loss.data?.rows);
  const tab = TABS.find((t) => t.toLowerCase() === view.tab) ?? 'Map';
  const node = nodes.find((n) => n.id === view.sel);
  return (
    <>
      <AskBeforeLeaving key={id} id={id} />
      <Head data={data} id={id} />
      <PastRange at={data.at} now="Map, stages, partitions and forecast" past="charts, heat strip and traces" />
      <CauseCard
        cause={data.cause}
        sentence={data.sentence}
        state={data.state}
        since={data.since}
        more={data.evidence ? `Evidence: ${data.evidence}.` : null}
        action={BROKEN.has(data.state) ? <OpenIncident rows={lossRows} /> : null}
      />
      <OutlookLine data={data} />
      <Partial completeness={data.completeness} />
      {nodes.length > 0 ? (
        <section className="card pad" aria-label="Map">
          <FlowMap at={data.at} nodes={nodes} edges={edges} chosen={view.sel} choose={(sel) => set({ sel })} />
          {node ? (
            <NodePanel
              at={data.at}
              node={node}
              edges={edges}
              nodes={nodes}
              pipeline={id}
              service={list(stages.find((s) => s.stage === node.name)?.services)[0] ?? node.name}
              losses={lossRows}
              close={() => set({ sel: '' })}
            />
          ) : null}
        </section>
      ) : null}
      <Tabs
        label="Views of the pipeline"
        tabs={TABS}
        value={tab}
        onChange={(t) => set({ tab: t === 'Map' ? '' : t.toLowerCase(), sort: '', state: '' })}
      >
        {tab === 'Map' ? <History data={data} id={id} /> : null}
        {tab === 'Stages' ? (
          stages.length > 0 ? (
            <Stages rows={stages} latency={list(data.latency)} id={id} />
          ) : (
            <NothingHere title="No stage is known.">
              Each program that reads or writes the queues of {id} stands here once its counters or spans arrive: what
              went in and out, how busy it is, how long it takes.
            </NothingHere>
          )
        ) : null}
        {tab === 'Partitions' ? (
          partitions.length > 0 ? (
            <Partitions rows={partitions} id={id} />
          ) : (
            <NothingHere title="No partition is known.">
              What is unread in each partition of its queues stands here once a collector reads their offsets.
            </NothingHere>
          )
        ) : null}
        {tab === 'Traces' ? (
          stages.length > 0 ? (
            <TracesTab data={data} />
          ) : (
            <NothingHere title="No stage is known, so there is no service to search.">
              Traces through the services of {id} stand here: all, the slow ones, the failed ones.
            </NothingHere>
          )
        ) : null}
        {tab === 'Loss' ? (
          <Screen answer={loss} what={`the losses of ${id}`} bones={[160]}>
            {(l) => <LossTab rows={list(l.rows)} from={l.from} to={l.to} />}
          </Screen>
        ) : null}
        {tab === 'Alerts' ? (
          <Screen answer={alerts} what={`the alerts of ${id}`} bones={[120]}>
            {(a) => <AlertsTab rows={list(a.alerts).filter((x) => x.pipeline === id)} />}
          </Screen>
        ) : null}
        {tab === 'Config' ? (
          <Suspense fallback={<Skeleton heights={[360]} label="Loading the declaration" />}>
            <ConfigTab key={id} id={id} />
          </Suspense>
        ) : null}
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
      <Origin declared={data.declared} word />
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
