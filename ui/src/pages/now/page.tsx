// Is anything wrong, and what first?
import { useAlerts, useIncidents, useNow } from '../../api/hooks';
import { type Alert, type Change, type Incident, type LossRow, list, type Now } from '../../api/types';
import { ChangeList } from '../../components/changes';
import { useClock } from '../../components/clock';
import { IncidentLines } from '../../components/incident-list';
import { Go } from '../../components/link';
import { LossLines } from '../../components/loss-lines';
import { NoteButton } from '../../components/note-button';
import { PipelinesTable } from '../../components/pipelines-table';
import { RetentionWarning } from '../../components/retention-warning';
import { useRows } from '../../components/rows';
import { Partial, Screen } from '../../components/screen';
import { State, toneOf } from '../../components/state';
import { useTitle } from '../../components/title';
import { duration, plural } from '../../lib/format';
import { resolve, when } from '../../lib/time';
import { told } from '../../lib/told';
import { useGo, useView } from '../../state/use-view';
import type { View } from '../../state/view';

/** Lines of a card. */
const MOST = 5;
const CHANGES = 6;

export function NowPage() {
  const [view] = useView();
  const answer = useNow(view.live);
  useTitle(answer.data ? `${answer.data.state}: now` : 'Now');
  return (
    <Screen answer={answer} what="the state of now" bones={[60, 240, 160]}>
      {(data) => <Content data={data} />}
    </Screen>
  );
}

function Content({ data }: { data: Now }) {
  const [view] = useView();
  const go = useGo();
  const worst = list(data.worst);
  const losses = list(data.losses);
  const changes = list(data.changes);
  const firing = list(useAlerts(view.live).data?.alerts).filter((a) => a.state !== 'resolved');
  const [cursor] = useRows(worst.length, (i) => worst[i] && go(`/p/${encodeURIComponent(worst[i].id)}`));
  return (
    <>
      <div className="row base">
        <h1>Now</h1>
        <State state={data.state} />
      </div>
      <div className={`card pad banner ${toneOf(data.state)}`}>
        <b>
          {told(data.sentence, view.tz, Date.now()) ||
            (data.state === 'OK' ? 'Everything weir sees flows.' : 'Nothing is known yet: no pipeline has been seen.')}
        </b>
      </div>
      <Partial completeness={data.completeness} />
      <RetentionWarning rows={worst} />
      <section className="card" aria-label="Worst pipelines">
        <div className="row card-head">
          <h2>Worst pipelines</h2>
          <span className="grow" />
          <Go to="/pipelines">All pipelines</Go>
        </div>
        {worst.length > 0 ? (
          <PipelinesTable rows={worst} cursor={cursor} sort="" open={(r) => go(`/p/${encodeURIComponent(r.id)}`)} />
        ) : (
          <p className="pad mut">None: no pipeline is late, losing or unknown.</p>
        )}
      </section>
      <div className="cols three">
        <Alerts alerts={firing} zone={view.tz} />
        <Losses losses={losses} zone={view.tz} live={view.live} />
        <Changes changes={changes} zone={view.tz} />
      </div>
    </>
  );
}

function Alerts({ alerts, zone }: { alerts: readonly Alert[]; zone: string }) {
  const now = useClock();
  return (
    <section className="card" aria-label="Alerts">
      <div className="row card-head">
        <h2>Alerts</h2>
        <span className="grow" />
        <Go to="/alerts">All alerts</Go>
      </div>
      {alerts.length === 0 ? <p className="pad mut">None fires.</p> : null}
      <ul className="lines">
        {alerts.slice(0, MOST).map((a) => (
          <li key={a.id}>
            <State state={a.state === 'pending' ? 'PENDING' : a.severity === 'critical' ? 'CRITICAL' : 'WARNING'} />
            <span className="line-text">
              <Go to={`/p/${encodeURIComponent(a.pipeline)}`}>{told(a.summary, zone, now)}</Go>
              <span className="mut">
                since {when(a.since, zone, now)}, {duration((now - a.since) / 1000)}
              </span>
            </span>
          </li>
        ))}
      </ul>
      <More n={alerts.length - MOST} what="alert" to="/alerts" />
    </section>
  );
}

/** What a card leaves out is said, with the way to it. */
function More({ n, what, to, view }: { n: number; what: string; to: string; view?: Partial<View> }) {
  if (n <= 0) return null;
  return (
    <p className="pad mut in-text">
      and{' '}
      <Go to={to} view={view}>
        {plural(n, `more ${what}`)}
      </Go>
    </p>
  );
}

/** Incidents of the last day, those that go on first; the ledger's rows where no incidents are told. */
function Losses({ losses, zone, live }: { losses: readonly LossRow[]; zone: string; live: boolean }) {
  const range = () => resolve('now-24h', 'now', Date.now());
  const answer = useIncidents('now-24h..now', range, {}, live, true);
  const all = list(answer.data?.incidents);
  const rank = (i: Incident) => (i.still ? 0 : 2) + (i.lost > 0 ? 0 : 1);
  const incidents = [...all].sort((a, b) => rank(a) - rank(b)).slice(0, MOST);
  const still = all.filter((i) => i.still && i.lost > 0).length;
  const none = incidents.length === 0 && losses.length === 0;
  return (
    <section className="card" aria-label="Losses">
      <div className="row card-head base">
        <h2>Losses, last 24 h</h2>
        <span className="mut">{still > 0 ? `${still} still going on` : ''}</span>
        <span className="grow" />
        <Go to="/loss">The ledger</Go>
      </div>
      {none ? <p className="pad mut">None found. What weir cannot know is in the ledger as unknown.</p> : null}
      {incidents.length > 0 ? (
        <>
          <IncidentLines rows={incidents} zone={zone} />
          <More
            n={all.length + (answer.data?.left ?? 0) - MOST}
            what="incident"
            to="/loss"
            view={{ tab: 'incidents' }}
          />
        </>
      ) : (
        <>
          <LossLines rows={losses} zone={zone} />
          <More n={losses.length - MOST} what="row" to="/loss" />
        </>
      )}
    </section>
  );
}

function Changes({ changes, zone }: { changes: readonly Change[]; zone: string }) {
  return (
    <section className="card" aria-label="Changes">
      <div className="row card-head">
        <h2>Last changes</h2>
        <span className="grow" />
        <NoteButton pipeline="" className="ghost" />
      </div>
      {changes.length === 0 ? (
        <p className="pad mut">None seen: no deploy, restart or note in the last hours.</p>
      ) : null}
      <ChangeList changes={changes.slice(0, CHANGES)} zone={zone} />
      {changes.length > CHANGES ? (
        <p className="pad mut">and {plural(changes.length - CHANGES, 'earlier one')}</p>
      ) : null}
    </section>
  );
}
