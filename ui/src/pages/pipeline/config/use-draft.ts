// A declaration being written: its text, what the check says of it, and storing it against a version.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { http, take } from '../../../api/client';
import type { ConfigFinding, PipelineConfig } from '../../../api/types';
import { list } from '../../../api/types';
import { useSettled } from '../../../components/settled';
import { dropDraft, keepDraft, useKept } from './drafts';

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
  /** Deletes the declaration: weir goes by what it finds. */
  remove: () => void;
}

export function useDraft(id: string, config: PipelineConfig): Draft {
  const client = useQueryClient();
  const kept = useKept(id);
  const text = kept?.text ?? config.declared;
  const base = kept?.base ?? config.version;
  const settled = useSettled(text, 300);
  const changed = text !== config.declared;
  // What says the same as what is stored is no draft, whoever stored it.
  useEffect(() => {
    if (!changed) dropDraft(id);
  }, [id, changed]);
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
      // First the draft: the editor must not show the former text until the answer is told.
      keepDraft(id, { text: stored.declared, base: stored.version });
      client.setQueryData(['config', id], stored);
    },
    onError: () => void client.invalidateQueries({ queryKey: ['config', id] }),
  });
  const removal = useMutation({
    mutationFn: () => take(http.DELETE('/api/v1/pipelines/{id}/config', { params: { path: { id } } })),
    onSuccess: () => {
      dropDraft(id);
      client.setQueryData(['config', id], {
        ...config,
        declared: '',
        version: 0,
        by: '',
        at: 0,
        source: 'none',
        diff: [],
      });
      void client.invalidateQueries({ queryKey: ['config', id] });
    },
  });
  const fresh = settled === text && check.data !== undefined;
  return {
    text,
    edit: (now) => (now === config.declared ? dropDraft(id) : keepDraft(id, { text: now, base })),
    changed,
    findings: changed ? list(check.data?.findings) : list(config.diff),
    checking: changed && text.trim() !== '' && !fresh,
    usable: changed && fresh && check.data.ok,
    save: () => store.mutate(),
    saving: store.isPending,
    error: store.error ?? removal.error ?? (changed ? check.error : null),
    conflict: changed && base !== config.version && !store.isSuccess,
    rebase: () => {
      keepDraft(id, { text, base: config.version });
      store.reset();
    },
    reset: () => {
      dropDraft(id);
      store.reset();
    },
    remove: () => removal.mutate(),
  };
}
