// What do the slow ones have in common? Search, then open one.
import { type FormEvent, useState } from 'react';
import { type TraceQuery, useTraces } from '../../api/hooks';
import { list, type Traces } from '../../api/types';
import { useRows } from '../../components/rows';
import { NothingMatches, NothingYet, Screen } from '../../components/screen';
import { useTitle } from '../../components/title';
import { TraceTable } from '../../components/trace-table';
import { plural } from '../../lib/format';
import { parseSpan } from '../../lib/time';
import { useGo, useRange, useView } from '../../state/use-view';
import { DEFAULT, type View } from '../../state/view';

const LIMIT = 100;

/** Seconds of `250ms`, `1.5s`, `2m` or a bare number of seconds. */
export function seconds(text: string): number | undefined {
  const t = text.trim().replace(/\s/g, '');
  if (!t) return undefined;
  const ms = /^(\d+(?:\.\d+)?)ms$/.exec(t);
  if (ms) return Number(ms[1]) / 1000;
  if (/^\d+(\.\d+)?$/.test(t)) return Number(t);
  const span = parseSpan(t);
  return span === undefined ? undefined : span / 1000;
}

function query(v: View): TraceQuery {
  return {
    service: v.service || undefined,
    name: v.name || undefined,
    attr: v.attr || undefined,
    min: seconds(v.min),
    max: seconds(v.max),
    error: v.error || undefined,
    limit: LIMIT,
  };
}

export function TracesPage() {
  const [view] = useView();
  const range = useRange(view, 'now-1h');
  const answer = useTraces(range.key, range.now, query(view), view.live && range.relative);
  useTitle('Traces');
  return (
    <>
      <div className="row base">
        <h1>Traces</h1>
        <span className="mut">{answer.data ? plural(list(answer.data.traces).length, 'trace') : ''}</span>
      </div>
      <SearchForm key={JSON.stringify(query(view))} />
      <Screen answer={answer} what="traces" bones={[420]}>
        {(data) => <Found data={data} />}
      </Screen>
    </>
  );
}

function Found({ data }: { data: Traces }) {
  const [view, set] = useView();
  const go = useGo();
  const rows = list(data.traces);
  const [cursor] = useRows(rows.length, (i) => rows[i] && go(`/t/${rows[i].id}`));
  const searched = view.service || view.name || view.attr || view.min || view.max || view.error;
  if (rows.length === 0)
    return searched ? (
      <div className="card">
        <NothingMatches
          what="this search in this range"
          clear={() => set({ service: '', name: '', attr: '', min: '', max: '', error: false })}
        />
      </div>
    ) : (
      <NothingYet
        title="No trace in this range"
        snippet={`export OTEL_EXPORTER_OTLP_ENDPOINT=http://${location.hostname}:4318`}
      >
        Any OpenTelemetry SDK sends traces here:
      </NothingYet>
    );
  return (
    <>
      <div className="card">
        <TraceTable rows={rows} zone={view.tz} cursor={cursor} open={(t) => go(`/t/${t.id}`)} />
      </div>
      {rows.length >= LIMIT ? (
        <p className="mut">The newest {LIMIT} are shown; narrow the search or the time for others.</p>
      ) : null}
    </>
  );
}

function SearchForm() {
  const [view, set] = useView();
  const go = useGo();
  const [draft, setDraft] = useState(view);
  const edit = (patch: Partial<View>) => setDraft({ ...draft, ...patch });
  const wrong =
    (draft.min && seconds(draft.min) === undefined) || (draft.max && seconds(draft.max) === undefined)
      ? 'Write a duration like 250ms, 1.5s or 2m.'
      : draft.attr && !/^[^=]+=/.test(draft.attr)
        ? 'Write an attribute as key=value.'
        : '';
  const submit = (e: FormEvent) => {
    e.preventDefault();
    if (wrong) return;
    const id = draft.name.trim().toLowerCase();
    if (/^[0-9a-f]{32}$/.test(id)) return go(`/t/${id}`);
    set(
      {
        service: draft.service.trim(),
        name: draft.name.trim(),
        attr: draft.attr.trim(),
        min: draft.min.trim(),
        max: draft.max.trim(),
        error: draft.error,
      },
      'push',
    );
  };
  const fields = [
    { key: 'service', label: 'Service', hint: 'enrich', width: 84, filter: true },
    { key: 'name', label: 'Name or trace id', hint: 'process orders', width: 104 },
    { key: 'attr', label: 'Attribute', hint: 'customer.tier=gold', width: 122 },
    { key: 'min', label: 'At least', hint: '250ms', width: 48 },
    { key: 'max', label: 'At most', hint: '2m', width: 48 },
  ] as const;
  return (
    <form className="row" onSubmit={submit} style={{ gap: 8 }} aria-label="Search traces">
      {fields.map((f) => (
        <label className="field" key={f.key}>
          <span>{f.label}</span>
          <input
            value={draft[f.key]}
            placeholder={f.hint}
            spellCheck={false}
            style={{ width: f.width }}
            data-filter={'filter' in f ? true : undefined}
            onChange={(e) => edit({ [f.key]: e.target.value })}
            onKeyDown={(e) => {
              if (e.key === 'Escape') e.currentTarget.blur();
            }}
          />
        </label>
      ))}
      <label className="field">
        <input
          type="checkbox"
          style={{ width: 'auto' }}
          checked={draft.error}
          onChange={(e) => edit({ error: e.target.checked })}
        />
        Only failed
      </label>
      <button type="submit" className="btn p" disabled={wrong !== ''}>
        Search
      </button>
      <button
        type="button"
        className="btn"
        onClick={() => set({ ...DEFAULT, from: view.from, to: view.to, tz: view.tz, live: view.live })}
      >
        Clear
      </button>
      {wrong ? (
        <span className="warn" role="status">
          {wrong}
        </span>
      ) : null}
    </form>
  );
}
