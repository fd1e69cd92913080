// What if there were more consumers, less inflow, longer retention? Two curves and one sentence.
import { useEffect, useMemo, useRef } from 'react';
import { useWhatIf } from '../../../api/hooks';
import { type Forecast, list, type WhatIf } from '../../../api/types';
import { Chart } from '../../../charts/chart';
import { LossIn } from '../../../components/forecast';
import { useKeys } from '../../../components/keys';
import { Screen } from '../../../components/screen';
import { useSettled } from '../../../components/settled';
import { rate } from '../../../lib/format';
import { useView } from '../../../state/use-view';
import { Inputs } from './inputs';
import { Options, Partials } from './options';
import { type Change, decode, encode, query } from './state';

/** Where the links to it lead. */
export const WHAT_IF = 'what-if';

export function WhatIfPanel({ id, f }: { id: string; f: Forecast }) {
  const [view, set] = useView();
  const panel = useRef<HTMLElement>(null);
  // It stands below the charts: who has just opened it is led there. A link with changes shows the page from its top.
  const fresh = useRef(view.wi === encode({}));
  useEffect(() => {
    if (fresh.current) panel.current?.focus();
  }, []);
  const change = useMemo(() => decode(view.wi), [view.wi]);
  const asked = useSettled(change);
  const answer = useWhatIf(id, { destination: f.destination, group: f.group, ...query(asked) }, view.live, true);
  useKeys({ Escape: () => set({ wi: '' }) });
  const put = (c: Change) => set({ wi: encode(c) });
  return (
    <section className="card pad whatif" aria-label="What if" id={WHAT_IF} ref={panel} tabIndex={-1}>
      <div className="row base">
        <h2>What if</h2>
        <span className="mut">
          {f.destination} → {f.group}
        </span>
        <span className="grow" />
        <button type="button" className="btn" disabled={encode(change) === 'open'} onClick={() => put({})}>
          As it is
        </button>
        <button type="button" className="btn" onClick={() => set({ wi: '' })}>
          Close
        </button>
      </div>
      <div className="whatif-body">
        <Inputs base={answer.data?.base ?? f} change={change} set={put} />
        <Screen answer={answer} what="this forecast" bones={[240]}>
          {(data) => <Outcome data={data} at={answer.dataUpdatedAt} change={change} put={put} />}
        </Screen>
      </div>
    </section>
  );
}

function Outcome({ data, at, change, put }: { data: WhatIf; at: number; change: Change; put: (c: Change) => void }) {
  const [view] = useView();
  const curve = useMemo(() => {
    const points = list(data.curve);
    return {
      times: points.map((p) => at + p.in * 1000),
      lines: [
        { name: 'as it is', colour: '--mut', dash: [5, 4], values: points.map((p) => p.base) },
        { name: 'changed', colour: '--s1', values: points.map((p) => p.changed) },
      ],
    };
  }, [data.curve, at]);
  return (
    <>
      <p className="says" role="status">
        {data.sentence}
      </p>
      <p className="mut">
        Retention then: <LossIn f={data.changed} />
      </p>
      <div className="whatif-answer">
        <Chart title="Backlog" sub="records, from now on" {...curve} format={rate} zone={view.tz} height={190} legend />
        <Options
          data={data}
          chosen={change.consumers ?? data.base.consumers ?? undefined}
          choose={(n) => {
            const next = { ...change, consumers: n };
            if (n === data.base.consumers) delete (next as Change).consumers;
            put(next);
          }}
        />
      </div>
      <Partials data={data} />
    </>
  );
}
