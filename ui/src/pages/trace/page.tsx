// One trace as a waterfall, with the time records waited in queues drawn as hatched grey.
import { useParams } from '@tanstack/react-router';
import { useMemo, useRef, useState } from 'react';
import { ApiError } from '../../api/client';
import { useTrace } from '../../api/hooks';
import type { Trace } from '../../api/types';
import { useKeys } from '../../components/keys';
import { Go } from '../../components/link';
import { Screen } from '../../components/screen';
import { Shape } from '../../components/state';
import { useTitle } from '../../components/title';
import { count, plural, spanDuration } from '../../lib/format';
import { full, zoneName } from '../../lib/time';
import { useView } from '../../state/use-view';
import { SpanDetail } from './detail';
import { MiniMap } from './mini-map';
import { ancestors, build, find, pan, visible, type Window, zoom } from './model';
import './trace.css';
import { Waterfall, type WaterfallHandle } from './waterfall';

export function TracePage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const answer = useTrace(id);
  useTitle(`Trace ${id.slice(0, 8)}`);
  if (answer.error instanceof ApiError && answer.error.status === 404)
    return (
      <section className="card state-box">
        <h1>No such trace</h1>
        <p className="mut mono">{id}</p>
        <p className="mut">It may be older than the store keeps, not sampled, or not arrived yet.</p>
        <div className="row">
          <button type="button" className="btn" onClick={() => void answer.refetch()}>
            Look again
          </button>
          <Go to="/traces" className="btn">
            Search traces
          </Go>
        </div>
      </section>
    );
  return (
    <Screen answer={answer} what="the trace" bones={[30, 70, 460]}>
      {(data) => <Content key={data.id} trace={data} />}
    </Screen>
  );
}

function Content({ trace }: { trace: Trace }) {
  const [view, set] = useView();
  const model = useMemo(() => build(trace), [trace]);
  const [folded, setFolded] = useState<ReadonlySet<number>>(new Set());
  const [shown, setShown] = useState<Window>({ from: 0, to: model.duration });
  const [text, setText] = useState('');
  const list = useRef<WaterfallHandle>(null);
  const rows = useMemo(() => visible(model, folded), [model, folded]);
  const hits = useMemo(() => find(model, text), [model, text]);
  const hitSet = useMemo(() => new Set(hits), [hits]);
  const chosen = useMemo(() => (view.sel ? model.spans.findIndex((s) => s.id === view.sel) : -1), [model, view.sel]);

  const choose = (index: number) => {
    const span = model.spans[index];
    if (!span) return;
    set({ sel: span.id });
    const hidden = ancestors(model, index).filter((a) => folded.has(a));
    if (hidden.length > 0) {
      const next = new Set(folded);
      for (const a of hidden) next.delete(a);
      setFolded(next);
    }
    requestAnimationFrame(() => list.current?.show(index));
  };
  const step = (by: number) => {
    const at = chosen < 0 ? (by > 0 ? -1 : 0) : rows.indexOf(chosen);
    const next = rows[Math.max(0, Math.min(rows.length - 1, at + by))];
    if (next !== undefined) choose(next);
  };
  const fold = (index: number) => {
    const next = new Set(folded);
    if (!next.delete(index)) next.add(index);
    setFolded(next);
  };
  const nextHit = () => {
    const next = hits.find((h) => h > chosen) ?? hits[0];
    if (next !== undefined) choose(next);
  };
  useKeys({
    j: () => step(1),
    k: () => step(-1),
    f: () => step(1),
    b: () => step(-1),
    ArrowDown: (e) => ((e.target as HTMLElement).closest('[role="treegrid"]') ? step(1) : false),
    ArrowUp: (e) => ((e.target as HTMLElement).closest('[role="treegrid"]') ? step(-1) : false),
    w: () => setShown(zoom(shown, 0.5, model.duration)),
    s: () => setShown(zoom(shown, 2, model.duration)),
    a: () => setShown(pan(shown, -0.25, model.duration)),
    d: () => setShown(pan(shown, 0.25, model.duration)),
    h: () => (chosen >= 0 ? fold(chosen) : false),
    n: () => (hits.length > 0 ? nextHit() : false),
    Escape: () => (view.sel ? set({ sel: '' }) : false),
  });

  const root = model.spans[0];
  return (
    <>
      <div className="row base">
        <nav className="row base" aria-label="Breadcrumb" style={{ gap: 8 }}>
          <Go to="/traces" className="mut">
            Traces
          </Go>
          <span className="mut" aria-hidden>
            /
          </span>
          <h1>{root ? `${root.service}: ${root.name}` : trace.id}</h1>
        </nav>
        <span className="mut">
          {full(trace.start, view.tz)} {zoneName(view.tz, trace.start)}
        </span>
        <span className="grow" />
        <b>{spanDuration(model.duration)}</b>
        <span className="mut">{plural(model.spans.length, 'span')}</span>
        <span className="mut">{plural(model.services.length, 'service')}</span>
        {model.errors > 0 ? (
          <span className="bad">
            <Shape tone="lose" /> {count(model.errors)} failed
          </span>
        ) : null}
      </div>
      <div className="card trace-card">
        <MiniMap model={model} shown={shown} show={setShown} />
        <div className="row trace-tools">
          <label className="field">
            <span className="sr">Find spans</span>
            <input
              data-filter
              value={text}
              placeholder="Find a name, service, attribute"
              style={{ width: 220 }}
              spellCheck={false}
              onChange={(e) => setText(e.target.value)}
              onKeyDown={(e) => {
                if (e.key === 'Enter') nextHit();
                if (e.key === 'Escape') e.currentTarget.blur();
              }}
            />
            <kbd>/</kbd>
          </label>
          <span className="mut" role="status">
            {text
              ? `${plural(hits.length, 'match', 'matches')}${hits.length > 0 ? ', Enter or n for the next' : ''}`
              : ''}
          </span>
          <span className="grow" />
          <span className="legend-wait">
            <i className="wait-key" aria-hidden /> waiting in a queue
          </span>
          <button
            type="button"
            className="btn"
            onClick={() => setShown({ from: 0, to: model.duration })}
            disabled={shown.from === 0 && shown.to === model.duration}
          >
            Whole trace
          </button>
          <button
            type="button"
            className="btn"
            onClick={() =>
              setFolded(
                folded.size > 0
                  ? new Set()
                  : new Set(rows.filter((i) => (model.depth[i] as number) >= 1 && (model.end[i] as number) > i + 1)),
              )
            }
          >
            {folded.size > 0 ? 'Unfold all' : 'Fold all'}
          </button>
        </div>
        <div className={chosen >= 0 ? 'trace-body split' : 'trace-body'}>
          <Waterfall
            ref={list}
            model={model}
            rows={rows}
            shown={shown}
            chosen={chosen}
            hits={hitSet}
            folded={folded}
            choose={choose}
            fold={fold}
          />
          {chosen >= 0 ? (
            <SpanDetail model={model} index={chosen} trace={trace} choose={choose} close={() => set({ sel: '' })} />
          ) : null}
        </div>
      </div>
    </>
  );
}
