import type { ReactNode } from 'react';
import { list, type SpanRow, type Trace } from '../../api/types';
import { CopyButton } from '../../components/copy-button';
import { Go } from '../../components/link';
import { State } from '../../components/state';
import { spanDuration } from '../../lib/format';
import { full } from '../../lib/time';
import { useView } from '../../state/use-view';
import type { Model } from './model';

/** Everything known about one span. */
export function SpanDetail({
  model,
  index,
  trace,
  choose,
  close,
}: {
  model: Model;
  index: number;
  trace: Trace;
  choose: (index: number) => void;
  close: () => void;
}) {
  const [view] = useView();
  const s = model.spans[index] as SpanRow;
  const links = list(s.links);
  const events = list(s.events);
  const attrs = Object.entries(s.attrs ?? {}).sort(([a], [b]) => a.localeCompare(b));
  const failed = model.failed[index] === 1;
  const facts: [string, ReactNode][] = [
    ['Took', <b key="t">{spanDuration(s.duration)}</b>],
    ['Started', `${spanDuration(s.start)} after the root, ${full(trace.start + s.start * 1000, view.tz)}`],
    ...(s.wait > 0
      ? ([['Waited', <b key="w">{spanDuration(s.wait)} in a queue before</b>]] as [string, ReactNode][])
      : []),
    ['Kind', s.kind],
    ['Node', s.node],
    ['Container', s.container],
    [
      'Span',
      <span className="mono" key="s">
        {s.id}
      </span>,
    ],
    ...(s.trace && s.trace !== trace.id
      ? ([
          [
            'Trace',
            <Go to={`/t/${s.trace}`} key="tr">
              {s.trace}
            </Go>,
          ],
        ] as [string, ReactNode][])
      : []),
  ];
  return (
    <aside className="span-detail" aria-label={`Span ${s.name}`}>
      <div className="row">
        <div style={{ minWidth: 0 }}>
          <h2>{s.name}</h2>
          <span className="mut">{s.service}</span>
        </div>
        {failed ? <State state="LOSING" word="FAILED" /> : null}
        <span className="grow" />
        <button type="button" className="btn" onClick={close}>
          Close <kbd>Esc</kbd>
        </button>
      </div>
      <Pairs rows={facts.filter(([, v]) => v !== '' && v != null)} />
      {events.length > 0 ? (
        <>
          <h3>Events</h3>
          {events.map((e, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: events have no identity of their own
            <div key={i} className="event">
              <b>{e.name}</b> <span className="mut">at {spanDuration(e.at)}</span>
              <Pairs rows={Object.entries(e.attrs ?? {})} />
            </div>
          ))}
        </>
      ) : null}
      {links.length > 0 ? (
        <>
          <h3>Comes from</h3>
          <ul className="span-links">
            {links.slice(0, 50).map((id) => {
              const at = model.spans.findIndex((x) => x.id === id);
              return (
                <li key={id}>
                  {at >= 0 ? (
                    <button type="button" className="ghost" onClick={() => choose(at)}>
                      {model.spans[at]?.service}: {model.spans[at]?.name}
                    </button>
                  ) : (
                    <span className="mono mut">{id}</span>
                  )}
                </li>
              );
            })}
          </ul>
          {links.length > 50 ? <p className="mut">and {links.length - 50} more</p> : null}
        </>
      ) : null}
      {attrs.length > 0 ? (
        <>
          <h3>Attributes</h3>
          <Pairs rows={attrs} />
        </>
      ) : null}
      <div className="row">
        <CopyButton text={JSON.stringify(s, null, 2)} label="Copy as JSON" />
      </div>
    </aside>
  );
}

function Pairs({ rows }: { rows: readonly (readonly [string, ReactNode])[] }) {
  return (
    <dl className="pairs">
      {rows.map(([k, v]) => (
        <div key={k}>
          <dt>{k}</dt>
          <dd>{v}</dd>
        </div>
      ))}
    </dl>
  );
}
