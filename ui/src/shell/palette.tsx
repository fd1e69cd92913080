import { useId, useState } from 'react';
import { usePipelines } from '../api/hooks';
import { list } from '../api/types';
import { Modal } from '../components/modal';
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

const MOST = 12;

/** Ctrl+K: pages, pipelines, actions, a trace by its id, or a PromQL query. */
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
  const pipelines = list(usePipelines(false).data?.pipelines);
  const all: Command[] = [
    ...pipelines.map((p) => ({
      id: `p:${p.id}`,
      text: p.id,
      hint: p.slowest,
      state: p.state,
      run: () => go(`/p/${encodeURIComponent(p.id)}`),
    })),
    ...PAGES.map((p) => ({ id: p.path, text: p.name, hint: p.says, run: () => go(p.path) })),
    ...actions.map((a) => ({ id: a.text, ...a })),
  ];
  const found = search(all, text);
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
        placeholder="A pipeline, a page, an action, a trace id, PromQL"
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

/** Whole prefix first, then a word's prefix, then anywhere; order within stays. */
function search(all: Command[], text: string): Command[] {
  const t = text.trim().toLowerCase();
  if (!t) return [...all];
  const rank = (c: Command) => {
    const name = c.text.toLowerCase();
    if (name.startsWith(t)) return 0;
    if (name.split(/[\s\-_./]/).some((w) => w.startsWith(t))) return 1;
    return name.includes(t) || c.hint.toLowerCase().includes(t) ? 2 : 3;
  };
  return all
    .map((c) => ({ c, r: rank(c) }))
    .filter((x) => x.r < 3)
    .sort((a, b) => a.r - b.r)
    .map((x) => x.c);
}
