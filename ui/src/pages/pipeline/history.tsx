// Lag and throughput over time, what changed, and what comes next.
import { useMemo } from 'react';
import { useHistory } from '../../api/hooks';
import { list, type Pipeline, type Series } from '../../api/types';
import { useClock } from '../../components/clock';
import { useKeys } from '../../components/keys';
import { NoteButton } from '../../components/note-button';
import { Screen } from '../../components/screen';
import { Segmented } from '../../components/segmented';
import { when } from '../../lib/time';
import { useRange, useView } from '../../state/use-view';
import { Charts } from './charts';
import { CHOICES, earlier, next, shiftOf, turn, wordOf } from './compare';
import { Next } from './next';
import { Happened, useHappened } from './notes';

export function History({ data, id }: { data: Pipeline; id: string }) {
  const [view, set] = useView();
  const range = useRange(view, 'now-1h');
  const live = view.live && range.relative;
  const answer = useHistory(id, range.key, range.now, live);
  const past = usePast(id, view.cmp, live);
  const happened = useHappened(id, data, range, live);
  const marks = useMemo(
    () => happened.map((c) => ({ at: c.at, until: c.until, text: `${when(c.at, view.tz, Date.now())} ${c.text}` })),
    [happened, view.tz],
  );
  useKeys({ c: () => set({ cmp: next(view.cmp) }) });
  const zoom = (from: number, to: number) => set({ from: String(from), to: String(to), live: false }, 'push');
  return (
    <>
      <div className="row">
        <span className="mut">Compare</span>
        <Segmented label="Compare with" choices={CHOICES} value={view.cmp} onChange={(cmp) => set({ cmp })} />
        {past && isEmpty(past.series) ? <span className="mut">nothing is known of {past.word}</span> : null}
        <span className="grow" />
        <NoteButton pipeline={id} />
      </div>
      <Screen answer={answer} what="history" bones={[260]}>
        {(h) => <Charts series={list(h.series)} data={data} past={past} marks={marks} zone={view.tz} zoom={zoom} />}
      </Screen>
      <Next data={data} id={id} />
      <Happened changes={happened} />
    </>
  );
}

const isEmpty = (series: readonly Series[]) => series.every((s) => list(s.points).every((p) => p.v == null));

/** The same range some days ago; undefined while nothing is compared, or nothing has come. */
function usePast(id: string, cmp: string, live: boolean) {
  const [view] = useView();
  const range = useRange(view, 'now-1h');
  const shift = shiftOf(cmp);
  const now = useClock(5000);
  const before = () => earlier(range.now(), shift, live);
  // The range goes on, so its past is asked for anew each minute, under a key of that minute.
  const answer = useHistory(id, `${range.key} -${cmp}${turn(now, live)}`, before, false, shift > 0);
  const series = shift > 0 && answer.data ? list(answer.data.series) : undefined;
  return useMemo(() => (series ? { series, shift, word: wordOf(cmp) } : undefined), [series, shift, cmp]);
}
