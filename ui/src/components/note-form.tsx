// A small form: note what happened. It appears as a mark on the charts of everybody.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useId, useState } from 'react';
import { ApiError, http, take } from '../api/client';
import { full, parseTime } from '../lib/time';
import { useView } from '../state/use-view';
import { kindWord } from './changes';
import { Modal } from './modal';

const KINDS = ['note', 'deploy', 'config', 'incident'];

export function NoteForm({ pipeline, close }: { pipeline: string; close: () => void }) {
  const [view] = useView();
  const [text, setText] = useState('');
  const [kind, setKind] = useState('note');
  const [time, setTime] = useState('now');
  const [everywhere, setEverywhere] = useState(pipeline === '');
  const id = useId();
  const client = useQueryClient();
  const at = parseTime(time, Date.now(), view.tz);
  const save = useMutation({
    mutationFn: () =>
      take(
        http.POST('/api/v1/annotations', {
          body: { text: text.trim(), kind, at, pipeline: everywhere ? '' : pipeline },
        }),
      ),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ['annotations'] });
      close();
    },
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    if (text.trim() && at !== undefined) save.mutate();
  };
  return (
    <Modal label="Note what happened" close={close}>
      <form className="pad form" onSubmit={submit}>
        <h2>Note what happened</h2>
        <label className="field">
          <span className="mut">What</span>
          <input
            value={text}
            onChange={(e) => setText(e.target.value)}
            placeholder="turned off retries of sink-es"
            maxLength={2000}
          />
        </label>
        <div className="row">
          <label className="field">
            <span className="mut">Kind</span>
            <select value={kind} onChange={(e) => setKind(e.target.value)}>
              {KINDS.map((k) => (
                <option key={k} value={k}>
                  {kindWord(k)}
                </option>
              ))}
            </select>
          </label>
          <label className="field">
            <span className="mut">When</span>
            <input value={time} onChange={(e) => setTime(e.target.value)} aria-describedby={id} spellCheck={false} />
          </label>
          <span id={id} className={at === undefined ? 'warn' : 'mut'} role="status">
            {at === undefined ? 'Write now, now-10m or 2026-01-31T14:00.' : full(at, view.tz)}
          </span>
        </div>
        {pipeline ? (
          <label className="row" style={{ gap: 8 }}>
            <input type="checkbox" checked={everywhere} onChange={(e) => setEverywhere(e.target.checked)} />
            On every pipeline, not only {pipeline}
          </label>
        ) : null}
        {save.error ? <Refused error={save.error} /> : null}
        <div className="row">
          <button type="submit" className="btn p" disabled={!text.trim() || at === undefined || save.isPending}>
            Note it
          </button>
          <button type="button" className="btn" onClick={close}>
            Close
          </button>
        </div>
      </form>
    </Modal>
  );
}

/** Why the server did not take it; without the right to write, whom to ask. */
export function Refused({ error }: { error: Error }) {
  const may = error instanceof ApiError && (error.status === 401 || error.status === 403);
  return (
    <p className="warn" role="alert">
      {may
        ? `You may not write here: ${error.message}. Ask whoever runs this weir server for a role that may.`
        : error.message}
    </p>
  );
}
