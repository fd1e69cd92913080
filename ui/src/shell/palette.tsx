import { useId, useState } from 'react';
import { useFind } from '../api/hooks';
import { type Hit, list } from '../api/types';
import { target } from '../components/group-target';
import { Modal } from '../components/modal';
import { useSettled } from '../components/settled';
import { State } from '../components/state';
import { useGo } from '../state/use-view';
import { PAGES } from './pages';

interface Command {
  id: string;
  text: string;
  hint: string;
  state?: string;
  run: () => void;
}

const MOST = 14;

/** A pipeline, stage or group that the server found. */
function commandOf(h: Hit, go: ReturnType<typeof useGo>): Command {
  const pipeline = `/p/${encodeURIComponent(h.pipeline)}`;
  const base = { id: h.id, text: h.name, state: h.state };
  if (h.kind === 'stage')
    return {
      ...base,
      hint: `stage of ${h.pipeline}`,
      run: () => go(`${pipeline}/stage/${encodeURIComponent(h.stage)}`),
    };
  if (h.kind === 'group') {
    const { to, view } = target({ pipeline: h.pipeline, destination: h.destination, group: h.name });
    const of = h.pipeline ? `, ${h.pipeline}` : '';
    return { ...base, hint: `group on ${h.destination}, ${h.system}${of}`, run: () => go(to, view) };
  }
  return { ...base, hint: 'pipeline', run: () => go(pipeline) };
}

/** Ctrl+K: pages, pipelines, stages, groups, actions, a trace by its id, or a PromQL query. */
export function Palette({
  close,
  actions,
}: {
  close: () => void;
  actions: { text: string; hint: string; run: () => void }[];
}) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const go = useGo();
  const id = useId();
  const hits = list(useFind(useSettled(text.trim().slice(0, 200), 120)).data?.hits).map((h) => commandOf(h, go));
  const pages = PAGES.map((p) => ({ id: p.path, text: p.name, hint: p.says, run: () => go(p.path) }));
  const acts = actions.map((a) => ({ id: a.text, ...a }));
  const found = search(text.trim() ? [...pages, ...hits, ...acts] : [...hits, ...pages, ...acts], text);
  const query = text.trim();
  if (/^[0-9a-f]{16,32}$/i.test(query))
    found.unshift({ id: 'trace', text: `Open trace ${query}`, hint: '', run: () => go(`/t/${query.toLowerCase()}`) });
  else if (query)
    found.push({ id: 'promql', text: `Explore ${query}`, hint: 'as PromQL', run: () => go('/explore', { q: query }) });
  const shown = found.slice(0, MOST);
  const cursor = Math.min(at, shown.length - 1);
  const run = (c: Command | undefined) => {
    close();
    c?.run();
  };
  return (
    <Modal label="Search or run a command" close={close}>
      <input
        className="palette-input"
        role="combobox"
        aria-label="Search or run a command"
        aria-expanded="true"
        aria-controls={id}
        aria-activedescendant={cursor >= 0 ? `${id}-${cursor}` : undefined}
        placeholder="A pipeline, stage, group, page, action, trace id, PromQL"
        value={text}
        spellCheck={false}
        onChange={(e) => {
          setText(e.target.value);
          setAt(0);
        }}
        onKeyDown={(e) => {
          if (e.key === 'ArrowDown') setAt(Math.min(cursor + 1, shown.length - 1));
          else if (e.key === 'ArrowUp') setAt(Math.max(cursor - 1, 0));
          else if (e.key === 'Enter') run(shown[cursor]);
          else return;
          e.preventDefault();
        }}
      />
      <div role="listbox" id={id} aria-label="Found" className="palette-list">
        {shown.map((c, i) => (
          <div
            key={c.id}
            id={`${id}-${i}`}
            role="option"
            tabIndex={-1}
            aria-selected={i === cursor}
            onClick={() => run(c)}
            onPointerMove={() => setAt(i)}
          >
            <span>{c.text}</span>
            <span className="mut">{c.hint}</span>
            <span className="grow" />
            {c.state ? <State state={c.state} /> : null}
          </div>
        ))}
      </div>
    </Modal>
  );
}

/** Whole prefix first, then a word's prefix, then anywhere, then all words in name and hint; order within stays. */
function search(all: Command[], text: string): Command[] {
  const t = text.trim().toLowerCase();
  if (!t) return [...all];
  const rank = (c: Command) => {
    const name = c.text.toLowerCase();
    if (name.startsWith(t)) return 0;
    if (name.split(/[\s\-_./:]/).some((w) => w.startsWith(t))) return 1;
    if (name.includes(t)) return 2;
    const both = `${name} ${c.hint.toLowerCase()}`;
    return t.split(/\s+/).every((w) => both.includes(w)) ? 3 : 4;
  };
  return all
    .map((c) => ({ c, r: rank(c) }))
    .filter((x) => x.r < 4)
    .sort((a, b) => a.r - b.r)
    .map((x) => x.c);
}
