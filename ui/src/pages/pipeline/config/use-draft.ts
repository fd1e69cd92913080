// A declaration being written: its text, what the check says of it, and storing it against a version.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { ApiError, http, take } from '../../../api/client';
import type { ConfigFinding, PipelineConfig } from '../../../api/types';
import { list } from '../../../api/types';
import { useSettled } from '../../../components/settled';

export interface Draft {
  text: string;
  edit: (text: string) => void;
  /** What differs from what is stored. */
  changed: boolean;
  findings: readonly ConfigFinding[];
  checking: boolean;
  /** The check found nothing that forbids storing. */
  usable: boolean;
  save: () => void;
  saving: boolean;
  error: Error | null;
  /** Somebody stored a newer version meanwhile. */
  conflict: boolean;
  /** Takes the newest version and keeps the text, to be looked at again. */
  rebase: () => void;
  /** Back to what is stored. */
  reset: () => void;
  /** Takes the declaration back: weir goes by what it finds. */
  remove: () => void;
}

export function useDraft(id: string, config: PipelineConfig): Draft {
  const client = useQueryClient();
  const [text, setText] = useState(config.declared);
  const [base, setBase] = useState(config.version);
  const settled = useSettled(text, 300);
  const changed = text !== config.declared;
  const check = useQuery({
    queryKey: ['config-check', id, settled],
    queryFn: ({ signal }) =>
      take(
        http.POST('/api/v1/pipelines/{id}/config/check', { params: { path: { id } }, body: { yaml: settled }, signal }),
      ),
    enabled: settled !== config.declared && settled.trim() !== '',
    staleTime: 60_000,
  });
  const store = useMutation({
    mutationFn: () =>
      take(
        http.PUT('/api/v1/pipelines/{id}/config', { params: { path: { id } }, body: { yaml: text, version: base } }),
      ),
    onSuccess: (stored) => {
      client.setQueryData(['config', id], stored);
      setText(stored.declared);
      setBase(stored.version);
    },
    onError: () => void client.invalidateQueries({ queryKey: ['config', id] }),
  });
  const removal = useMutation({
    mutationFn: () => take(http.DELETE('/api/v1/pipelines/{id}/config', { params: { path: { id } } })),
    onSuccess: () => {
      setText('');
      setBase(0);
      void client.invalidateQueries({ queryKey: ['config', id] });
    },
  });
  const fresh = settled === text && check.data !== undefined;
  return {
    text,
    edit: setText,
    changed,
    findings: changed ? list(check.data?.findings) : list(config.diff),
    checking: changed && text.trim() !== '' && !fresh,
    usable: changed && fresh && check.data.ok,
    save: () => store.mutate(),
    saving: store.isPending,
    error: store.error ?? removal.error ?? (changed ? check.error : null),
    conflict: store.error instanceof ApiError && store.error.status === 409,
    rebase: () => {
      setBase(config.version);
      store.reset();
    },
    reset: () => {
      setText(config.declared);
      setBase(config.version);
      store.reset();
    },
    remove: () => removal.mutate(),
  };
}
