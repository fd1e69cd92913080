// Runs of windows with loss in the range, newest first.
import type { useIncidents } from '../../api/hooks';
import { list } from '../../api/types';
import { IncidentTable, incidentPath } from '../../components/incident-list';
import { useRows } from '../../components/rows';
import { NothingMatches, Screen } from '../../components/screen';
import { plural } from '../../lib/format';
import { useGo, useView } from '../../state/use-view';

export function Incidents({ answer }: { answer: ReturnType<typeof useIncidents> }) {
  const [view, set] = useView();
  const go = useGo();
  const rows = list(answer.data?.incidents);
  const [cursor] = useRows(rows.length, (i) => rows[i] && go(incidentPath(rows[i].id)));
  return (
    <Screen answer={answer} what="incidents" bones={[300]}>
      {(data) => (
        <div className="card">
          {rows.length === 0 && view.f ? (
            <NothingMatches what={`“${view.f}”`} clear={() => set({ f: '' })} />
          ) : rows.length > 0 ? (
            <IncidentTable rows={rows} zone={view.tz} cursor={cursor} open={(i) => go(incidentPath(i.id))} />
          ) : (
            <p className="pad mut">
              None in this range: no edge or stage lost records. What weir cannot know is in the ledger as unknown.
            </p>
          )}
          {data.left > 0 ? <p className="pad mut">{plural(data.left, 'older incident')} left out.</p> : null}
        </div>
      )}
    </Screen>
  );
}
