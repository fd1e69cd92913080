// Why is this stage slow? Skew, CPU, what it waits for, rebalances, what is downstream.
import { useParams } from '@tanstack/react-router';
import { ApiError } from '../../api/client';
import { usePipeline, useStage } from '../../api/hooks';
import { type LossRow, list, type StagePage as Stage } from '../../api/types';
import { CauseCard } from '../../components/cause';
import { ChangeList } from '../../components/changes';
import { ForecastBox } from '../../components/forecast';
import { Latency } from '../../components/latency';
import { Go } from '../../components/link';
import { LossTable } from '../../components/loss-table';
import { OpenIncident } from '../../components/open-incident';
import { PartitionView } from '../../components/partition-view';
import { PastRange } from '../../components/past-range';
import { NothingMatches, Partial, Screen } from '../../components/screen';
import { State, toneOf } from '../../components/state';
import { useTitle } from '../../components/title';
import { count } from '../../lib/format';
import { when } from '../../lib/time';
import { useGo, useView } from '../../state/use-view';
import { Containers } from './containers';
import { Dependencies } from './dependencies';
import { Figures } from './figures';
import { Inputs } from './inputs';
import './stage.css';
import { Versions } from './versions';

export function StagePage() {
  const { id, stage } = useParams({ strict: false }) as { id: string; stage: string };
  const [view] = useView();
  const answer = useStage(id, stage, view.live);
  useTitle(answer.data ? `${stage} ${answer.data.node.state}` : stage);
  if (answer.error instanceof ApiError && answer.error.status === 404 && !answer.data)
    return <NoSuchStage id={id} stage={stage} />;
  return (
    <Screen answer={answer} what={`stage ${stage}`} bones={[30, 60, 120, 260]}>
      {(data) => <Content data={data} />}
    </Screen>
  );
}

function NoSuchStage({ id, stage }: { id: string; stage: string }) {
  const stages = list(usePipeline(id, false).data?.stages).map((s) => s.stage);
  return (
    <div className="card">
      <NothingMatches what={`the stage “${stage}” of ${id}`} near={stages} />
      <div className="row" style={{ justifyContent: 'center', paddingBottom: 20 }}>
        <Go to={`/p/${encodeURIComponent(id)}`} className="btn">
          Open the pipeline
        </Go>
      </div>
    </div>
  );
}

function Content({ data }: { data: Stage }) {
  const [view] = useView();
  const go = useGo();
  const { node, pipeline } = data;
  const inputs = list(data.inputs);
  const partitions = list(data.partitions);
  const losses = list(data.losses);
  const changes = list(data.changes);
  return (
    <>
      <Head data={data} />
      <PastRange at={data.at} now="Figures, partitions and forecast" past="the heat strip" />
      <CauseCard
        cause={data.cause}
        sentence={lossSentence(losses, data.at, view.tz)}
        state={node.state}
        action={<OpenIncident rows={losses.filter((l) => l.still)} />}
      />
      <Partial completeness={data.completeness} />
      <Figures data={data} />
      <Inputs inputs={inputs} at={data.at} />
      {inputs
        .filter((i) => i.forecast.drain || i.forecast.loss_in)
        .map((i) => (
          <ForecastBox key={`${i.destination}~${i.group}`} f={i.forecast} unknown={node.state === 'UNKNOWN'}>
            <Go
              to={`/p/${encodeURIComponent(pipeline)}`}
              view={{ wi: 'open', grp: `${i.destination}~${i.group}` }}
              className="btn"
            >
              What if
            </Go>
          </ForecastBox>
        ))}
      {inputs.map((i) => {
        const rows = partitions.filter((p) => p.destination === i.destination && p.group === i.group);
        return rows.length > 0 ? (
          <PartitionView
            key={`${i.destination}~${i.group}`}
            pipeline={pipeline}
            destination={i.destination}
            group={i.group}
            rows={rows}
            hot={toneOf(node.state) === 'late'}
          />
        ) : null;
      })}
      <Containers rows={list(data.containers)} />
      <div className="cols">
        <Dependencies rows={list(data.slow)} service={list(data.row?.services)[0] ?? node.name} />
        <Versions rows={list(data.versions)} zone={view.tz} />
        {changes.length > 0 ? (
          <section className="card" aria-label="Changes">
            <div className="row card-head">
              <h2>Changes</h2>
            </div>
            <ChangeList changes={changes} zone={view.tz} />
          </section>
        ) : null}
      </div>
      <Latency rows={list(data.latency)} />
      {losses.length > 0 ? (
        <section className="card" aria-label="Losses">
          <div className="row card-head base">
            <h2>Loss</h2>
            <span className="mut">its balance and the edges it reads, last 24 hours</span>
          </div>
          <LossTable
            rows={losses}
            from={data.at - 86_400_000}
            to={data.at}
            zone={view.tz}
            cursor={-1}
            span="last 24 hours"
            short
            open={(r) => go('/loss', { sel: r.id })}
          />
        </section>
      ) : null}
    </>
  );
}

/** What a stage without a cause of lateness is to be told about: the loss that goes on. */
export function lossSentence(losses: readonly LossRow[], at: number, zone: string): string {
  const worst = losses.filter((l) => l.still && l.lost > 0).sort((a, b) => b.lost - a.lost)[0];
  if (!worst) return '';
  const since = worst.since == null ? '' : ` since ${when(worst.since * 1000, zone, at)}`;
  return `${worst.where} has lost ${count(worst.lost)} records${since} and still does${worst.class ? `: ${worst.class}` : ''}.`;
}

function Head({ data }: { data: Stage }) {
  const { node, pipeline, row } = data;
  return (
    <div className="row">
      <nav className="row" aria-label="Breadcrumb" style={{ gap: 8 }}>
        <Go to="/pipelines" className="mut">
          Pipelines
        </Go>
        <span className="mut" aria-hidden>
          /
        </span>
        <Go to={`/p/${encodeURIComponent(pipeline)}`} className="mut">
          {pipeline}
        </Go>
        <span className="mut" aria-hidden>
          /
        </span>
        <h1>{node.name}</h1>
      </nav>
      <State state={node.state} word={node.stuck ? `${node.state}, STUCK HERE` : undefined} />
      <span className="mut">{row?.version}</span>
      <span className="grow" />
      <Go
        to={`/p/${encodeURIComponent(pipeline)}`}
        view={{ tab: 'traces', service: list(row?.services)[0] ?? '' }}
        className="btn"
      >
        Traces
      </Go>
    </div>
  );
}
