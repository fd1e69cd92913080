// What comes next: the forecast of one reader, the panel that changes it, and the other readers.
import { type Forecast, list, type Pipeline } from '../../api/types';
import { ForecastBox } from '../../components/forecast';
import { useView } from '../../state/use-view';
import { InputPick, keyOf } from './input-pick';
import { WhatIfPanel } from './whatif/panel';

export function Next({ data, id }: { data: Pipeline; id: string }) {
  const [view, set] = useView();
  const all = list(data.forecasts);
  const f: Forecast | undefined = all.find((x) => keyOf(x) === view.grp) ?? all[0];
  if (!f)
    return (
      <section className="card pad" aria-label="Forecast">
        <b>What comes next</b>{' '}
        <span className="mut">
          {data.state === 'IDLE'
            ? 'Nothing flows, so nothing piles up.'
            : 'is not known: where its readers stand in their queues is not known, so nobody can say when a backlog is gone.'}
        </span>
      </section>
    );
  return (
    <>
      <ForecastBox f={f} unknown={data.state === 'UNKNOWN'}>
        <InputPick inputs={all} value={keyOf(f)} />
        <button
          type="button"
          className="btn"
          aria-expanded={view.wi !== ''}
          onClick={() => set({ wi: view.wi ? '' : 'open' })}
        >
          What if
        </button>
      </ForecastBox>
      {view.wi ? <WhatIfPanel id={id} f={f} /> : null}
    </>
  );
}
