// The list of groups, fetched page by page as it is scrolled.
import { keepPreviousData, useQueries } from '@tanstack/react-query';
import { http, take } from '../../api/client';
import { type GroupRow, type Groups, list } from '../../api/types';

export const PAGE = 100;
const POLL = 5000;

export interface Question {
  q: string;
  state: string;
  system: string;
  sort: 'lag' | 'messages' | 'name';
}

/** Numbers of the pages that hold the rows first…last; the first page always, because it tells the total. */
export function pagesOf(first: number, last: number): number[] {
  const out = new Set([0]);
  for (let p = Math.floor(first / PAGE); p <= Math.floor(last / PAGE); p++) out.add(p);
  return [...out].sort((a, b) => a - b);
}

export interface Found {
  head: Groups | undefined;
  error: Error | null;
  isPending: boolean;
  isPlaceholderData: boolean;
  refetch: () => void;
  /** The row at an index; undefined while its page is on its way. */
  at: (index: number) => GroupRow | undefined;
}

export function useGroups(question: Question, pages: readonly number[], live: boolean): Found {
  return useQueries({
    queries: pages.map((page) => ({
      queryKey: ['groups', question, page],
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        take(
          http.GET('/api/v1/groups', {
            params: {
              query: {
                q: question.q || undefined,
                state: question.state || undefined,
                system: question.system || undefined,
                sort: question.sort,
                limit: PAGE,
                offset: page * PAGE,
              },
            },
            signal,
          }),
        ),
      refetchInterval: live ? POLL : (false as const),
      placeholderData: page === 0 ? keepPreviousData : undefined,
    })),
    combine: (answers) => {
      const first = answers[0];
      const byPage = new Map(pages.map((p, i) => [p, list(answers[i]?.data?.groups)]));
      return {
        head: first?.data,
        error: first?.error ?? null,
        isPending: first?.isPending ?? true,
        isPlaceholderData: first?.isPlaceholderData ?? false,
        refetch: () => void answers.forEach((a) => void a.refetch()),
        at: (i: number) => byPage.get(Math.floor(i / PAGE))?.[i % PAGE],
      };
    },
  });
}
