// What fires, since when, and was anybody told?
import { useAlerts } from '../../api/hooks';
import { type Alert, type Alerts, list } from '../../api/types';
import { useClock } from '../../components/clock';
import { Go } from '../../components/link';
import { useRows } from '../../components/rows';
import { NothingMatches, Screen } from '../../components/screen';
import { Scroll } from '../../components/scroll';
import { Segmented } from '../../components/segmented';
import { State } from '../../components/state';
import { useTitle } from '../../components/title';
import { DASH, duration } from '../../lib/format';
import { when } from '../../lib/time';
import { told } from '../../lib/told';
import { useGo, useView } from '../../state/use-view';

export function AlertsPage() {
  const [view] = useView();
  const answer = useAlerts(view.live);
  useTitle('Alerts');
  return (
    <Screen answer={answer} what="alerts" bones={[30, 240]}>
      {(data) => <Content data={data} />}
    </Screen>
  );
}

function Content({ data }: { data: Alerts }) {
  const [view, set] = useView();
  const go = useGo();
  const all = list(data.alerts);
  const shown = view.state ? all.filter((a) => a.state === view.state) : all;
  const open = (a: Alert | undefined) => a && go(`/p/${encodeURIComponent(a.pipeline)}`);
  const [cursor] = useRows(shown.length, (i) => open(shown[i]));
  const n = (state: string) => all.filter((a) => a.state === state).length;
  return (
    <>
      <div className="row base">
        <h1>Alerts</h1>
        <span className="mut">
          {n('firing')} firing, {n('pending')} pending, {n('resolved')} resolved in the last hour
        </span>
        <span className="grow" />
        <Segmented
          label="State"
          value={view.state}
          onChange={(state) => set({ state })}
          choices={[
            { value: '', label: `All ${all.length}` },
            { value: 'firing', label: `Firing ${n('firing')}` },
            { value: 'pending', label: `Pending ${n('pending')}` },
            { value: 'resolved', label: `Resolved ${n('resolved')}` },
          ]}
        />
      </div>
      <div className="card">
        {all.length === 0 ? (
          <div className="state-box" role="status">
            <b>No alert fires.</b>
            <p className="mut">
              Every pipeline is watched for being late and for losing; nothing to set up. Nothing fired in the last
              hour.
            </p>
          </div>
        ) : shown.length === 0 ? (
          <NothingMatches what={view.state} clear={() => set({ state: '' })} />
        ) : (
          <Table alerts={shown} cursor={cursor} open={open} />
        )}
      </div>
    </>
  );
}

function Table({ alerts, cursor, open }: { alerts: readonly Alert[]; cursor: number; open: (a: Alert) => void }) {
  const [view] = useView();
  const now = useClock();
  return (
    <Scroll label="Alerts">
      <table aria-label="Alerts">
        <thead>
          <tr>
            {['State', 'Pipeline', 'What', 'Stage', 'Since'].map((h) => (
              <th scope="col" className="l" key={h}>
                {h}
              </th>
            ))}
            <th scope="col">Lasts</th>
            <th scope="col" className="l">
              Told
            </th>
          </tr>
        </thead>
        <tbody>
          {alerts.map((a, i) => (
            <tr
              key={a.id}
              className={i === cursor ? 'go sel tall' : 'go tall'}
              data-row={i}
              aria-selected={i === cursor}
              onClick={(e) => (e.target as HTMLElement).closest('a') || open(a)}
            >
              <td className="l">
                <State state={a.state === 'firing' ? a.severity.toUpperCase() : a.state.toUpperCase()} />
              </td>
              <td className="l">
                <Go to={`/p/${encodeURIComponent(a.pipeline)}`} className="name">
                  {a.pipeline}
                </Go>
              </td>
              <td className="l wrap">{told(a.summary, view.tz, Date.now())}</td>
              <td className="l">{a.stage || DASH}</td>
              <td className="l num">{when(a.since, view.tz, now)}</td>
              <td>{duration(((a.ended_at || now) - a.since) / 1000)}</td>
              <td className="l wrap">
                <Told text={a.notified} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

/** A notice that failed must be seen: the alert fired and nobody knows. */
function Told({ text }: { text: string }) {
  if (!text) return <span className="mut">{DASH}</span>;
  if (text.startsWith('failed')) return <span className="bad">{text}</span>;
  return <span className={text === 'sent' ? undefined : 'mut'}>{text}</span>;
}
