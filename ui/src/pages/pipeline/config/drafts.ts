// Declarations that were typed and not stored, by pipeline: another tab or page must not throw them away.
import { useSyncExternalStore } from 'react';

export interface Kept {
  text: string;
  /** The version it was written upon. */
  base: number;
}

/** Nobody writes more declarations at once; the oldest goes first. */
const MOST = 20;

const drafts = new Map<string, Kept>();
const watchers = new Set<() => void>();

const tell = () => {
  for (const w of watchers) w();
};

export const draftOf = (id: string): Kept | undefined => drafts.get(id);

export function keepDraft(id: string, draft: Kept): void {
  drafts.delete(id);
  drafts.set(id, draft);
  const [oldest] = drafts.keys();
  if (drafts.size > MOST && oldest !== undefined) drafts.delete(oldest);
  tell();
}

export function dropDraft(id: string): void {
  if (drafts.delete(id)) tell();
}

function watch(changed: () => void): () => void {
  watchers.add(changed);
  return () => watchers.delete(changed);
}

/** The draft of a pipeline; undefined = nothing is typed that is not stored. */
export const useKept = (id: string): Kept | undefined => useSyncExternalStore(watch, () => drafts.get(id));
