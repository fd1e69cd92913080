// Is anything wrong, and what first?
import { useAlerts, useNow } from '../../api/hooks';
import { type Alert, type Change, type LossRow, list, type Now } from '../../api/types';
import { useClock } from '../../components/clock';
import { Go } from '../../components/link';
import { PipelinesTable } from '../../components/pipelines-table';
import { useRows } from '../../components/rows';
import { Partial, Screen } from '../../components/screen';
import { State, toneOf } from '../../components/state';
import { useTitle } from '../../components/title';
import { count, duration, percent } from '../../lib/format';
import { when } from '../../lib/time';
import { useGo, useView } from '../../state/use-view';

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
          {data.sentence ||
            (data.state === 'OK' ? 'Everything weir sees flows.' : 'Nothing is known yet: no pipeline has been seen.')}
        </b>
      </div>
      <Partial completeness={data.completeness} />
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
        <Losses losses={losses} zone={view.tz} />
        {changes.length > 0 ? <Changes changes={changes} zone={view.tz} /> : null}
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
        {alerts.slice(0, 5).map((a) => (
          <li key={a.id}>
            <State state={a.state === 'pending' ? 'PENDING' : a.severity === 'critical' ? 'CRITICAL' : 'WARNING'} />
            <span className="line-text">
              <Go to={`/p/${encodeURIComponent(a.pipeline)}`}>{a.summary}</Go>
              <span className="mut">
                since {when(a.since, zone, now)}, {duration((now - a.since) / 1000)}
              </span>
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Losses({ losses, zone }: { losses: readonly LossRow[]; zone: string }) {
  const now = Date.now();
  return (
    <section className="card" aria-label="Losses">
      <div className="row card-head">
        <h2>Losses, last 24 h</h2>
        <span className="grow" />
        <Go to="/loss">The ledger</Go>
      </div>
      {losses.length === 0 ? (
        <p className="pad mut">None found. What weir cannot know is in the ledger as unknown.</p>
      ) : null}
      <ul className="lines">
        {losses.slice(0, 5).map((l) => (
          <li key={l.id}>
            <State state={l.verdict} />
            <span className="line-text">
              <Go to="/loss" view={{ sel: l.id }}>
                {l.pipeline}: {l.where}
              </Go>
              <span className="mut">
                {l.since == null ? '' : `since ${when(l.since * 1000, zone, now)}`}
                {l.still ? ', still' : ''} {l.class ? `· ${l.class}` : ''}
              </span>
            </span>
            <span className="line-num">
              <b className={l.lost > 0 ? 'bad' : 'mut'}>{l.lost > 0 ? count(l.lost) : `≤ ${count(l.bound)}`}</b>
              <span className="mut">{l.share == null ? '' : percent(l.share)}</span>
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Changes({ changes, zone }: { changes: readonly Change[]; zone: string }) {
  const now = Date.now();
  return (
    <section className="card" aria-label="Changes">
      <div className="row card-head">
        <h2>Last changes</h2>
      </div>
      <ul className="lines">
        {changes.slice(0, 6).map((c) => (
          <li key={`${c.at}${c.text}`}>
            <span className="mut num">{when(c.at, zone, now)}</span>
            <span className="line-text">{c.text}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
