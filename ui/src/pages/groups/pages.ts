// The list of groups, fetched page by page as it is scrolled; what is in sight is live.
import { http, take } from '../../api/client';
import { useAnswers } from '../../api/hooks';
import type { Topic } from '../../api/live';
import { type GroupRow, type Groups, list } from '../../api/types';
import { useSettled } from '../../components/settled';

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

const params = (question: Question, page: number) => ({
  q: question.q || undefined,
  state: question.state || undefined,
  system: question.system || undefined,
  sort: question.sort,
  limit: PAGE,
  offset: page * PAGE,
});

/** What the live line is asked for one page. */
export function topicOf(question: Question, page: number): Topic {
  const set = Object.entries(params(question, page)).flatMap(([k, v]) => (v === undefined ? [] : [[k, String(v)]]));
  return { topic: 'groups', query: new URLSearchParams(set).toString() };
}

export function useGroups(question: Question, pages: readonly number[], live: boolean): Found {
  // What is only scrolled past is not followed.
  const rested = useSettled(pages.join(), 300).split(',').map(Number);
  return useAnswers<Groups, Found>(
    pages.map((page) => ({
      key: ['groups', question, page],
      fetch: (signal) => take(http.GET('/api/v1/groups', { params: { query: params(question, page) }, signal })),
      topic: rested.includes(page) ? topicOf(question, page) : undefined,
      poll: POLL,
      live,
      keep: page === 0,
    })),
    (answers) => {
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
  );
}
