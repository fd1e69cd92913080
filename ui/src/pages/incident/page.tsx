// One incident: what was lost, where, since when, is it over, and how sure are we.
import { useParams } from '@tanstack/react-router';
import { ApiError } from '../../api/client';
import { useIncident, useLossDetail } from '../../api/hooks';
import { type IncidentDetail, list } from '../../api/types';
import { Balances } from '../../components/balances';
import { ChangeList } from '../../components/changes';
import { Equation, sum } from '../../components/equation';
import { Go } from '../../components/link';
import { LossTable } from '../../components/loss-table';
import { Ribbon, RibbonScale } from '../../components/ribbon';
import { NothingMatches, Partial, Screen } from '../../components/screen';
import { useTitle } from '../../components/title';
import { TraceTable } from '../../components/trace-table';
import { count } from '../../lib/format';
import { useGo, useView } from '../../state/use-view';
import { Head } from './head';
import './incident.css';
import { summed } from './summed';
import { Why } from './why';

export function IncidentPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const [view] = useView();
  const answer = useIncident(id, view.live);
  useTitle(answer.data ? `${count(answer.data.lost)} lost in ${answer.data.pipeline}` : 'Incident');
  if (answer.error instanceof ApiError && answer.error.status === 404 && !answer.data)
    return (
      <div className="card">
        <NothingMatches what="this incident: it is older than what is kept, or it was revised away" />
        <div className="row" style={{ justifyContent: 'center', paddingBottom: 20 }}>
          <Go to="/loss" className="btn">
            The ledger
          </Go>
        </div>
      </div>
    );
  return (
    <Screen answer={answer} what="the incident" bones={[30, 150, 120, 300]}>
      {(data) => <Content data={data} at={answer.dataUpdatedAt} />}
    </Screen>
  );
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** `at` is when the answer came, Unix ms. */
function Content({ data, at }: { data: IncidentDetail; at: number }) {
  const [view] = useView();
  const go = useGo();
  const balances = list(data.balances);
  const inside = balances.filter((w) => w.window >= data.from && w.window < data.to);
  const traces = list(data.traces);
  const changes = list(data.changes);
  const around = list(data.around);
  // An hour at least, so that a short loss has surroundings.
  const from = Math.min(data.from * 1000 - 10 * MINUTE, data.to * 1000 - HOUR);
  // What goes on ends now: the future has no windows, and it is not that they were missing.
  const now = Math.ceil(at / MINUTE) * MINUTE;
  const to = data.still ? now : Math.min(now, Math.ceil(data.to / 60) * MINUTE + 5 * MINUTE);
  // The incident's own windows at once, those around it as soon as they come: what was well is shown as well.
  const range = `incident ${data.from} ${data.still ? 'still' : to}`;
  const surroundings = useLossDetail(data.row.id, range, () => ({ from, to }), view.live && data.still);
  const ribbon = list((surroundings.data?.row ?? data.row).ribbon);
  return (
    <>
      <Head data={data} />
      <Partial completeness={data.completeness} />
      <section className="card pad incident-time" aria-label="Event time">
        <div className="row base">
          <h2>Event time</h2>
          <span className="mut">hatched: lost; dashed: not known; thin line: no window</span>
        </div>
        <Ribbon cells={ribbon} from={from} to={to} zone={view.tz} width={1100} height={26} fill />
        <RibbonScale from={from} to={to} zone={view.tz} now={data.still && view.live ? at : undefined} />
        <div className="row base">
          <h3>{summed(data.windows, inside.length, balances.length)}</h3>
          {inside.length < data.windows && data.lost > 0 ? (
            <span className="mut">{count(data.lost)} lost in all of them</span>
          ) : null}
        </div>
        <Equation b={sum(inside.length > 0 ? inside : balances)} known={data.lost > 0 || !isUnknown(data.verdict)} />
      </section>
      <Why data={data} />
      {balances.length > 0 ? (
        <section className="card" aria-label="Balances">
          <div className="row card-head base">
            <h2>Balance of each window</h2>
            <span className="mut">newest first</span>
          </div>
          <Balances windows={balances} zone={view.tz} label="Balances by event minute" />
        </section>
      ) : null}
      {traces.length > 0 ? (
        <section className="card" aria-label="Traces of the time and place">
          <div className="row card-head base">
            <h2>Traces</h2>
            <span className="mut">of this time and place, those of lost messages first</span>
          </div>
          <TraceTable rows={traces} zone={view.tz} cursor={-1} open={(t) => go(`/t/${t.id}`)} />
        </section>
      ) : null}
      {changes.length > 0 ? (
        <section className="card" aria-label="Changes">
          <div className="row card-head base">
            <h2>What changed around its begin</h2>
          </div>
          <ChangeList changes={changes} zone={view.tz} />
        </section>
      ) : null}
      {around.length > 0 ? (
        <section className="card" aria-label="Other edges">
          <div className="row card-head base">
            <h2>The rest of {data.pipeline}</h2>
            <span className="mut">over the same time: where nothing was lost</span>
          </div>
          <LossTable
            rows={around}
            from={from}
            to={to}
            zone={view.tz}
            cursor={-1}
            span="same time"
            short
            open={(r) => go('/loss', { sel: r.id })}
          />
        </section>
      ) : null}
    </>
  );
}

const isUnknown = (verdict: string) => verdict === '' || verdict.startsWith('UNKNOWN');
