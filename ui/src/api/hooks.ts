// One hook per answer: the HTTP snapshot first, then the live line, and polling when there is none.
import {
  keepPreviousData,
  QueryClient,
  type UseQueryResult,
  useQueries,
  useQuery,
  useQueryClient,
} from '@tanstack/react-query';
import { useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { ApiError, http, take } from './client';
import { LiveClient, type Status, type Topic } from './live';
import type {
  Alerts,
  Annotations,
  Hits,
  IncidentDetail,
  Incidents,
  Loss,
  LossDetail,
  Now,
  PartitionHeat,
  Pipeline,
  PipelineConfig,
  PipelineHistory,
  Pipelines,
  Self,
  StagePage,
  Trace,
  Traces,
  WhatIf,
} from './types';

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 1000,
      retry: (failures, error) =>
        !(error instanceof ApiError && error.status >= 400 && error.status < 500) && failures < 2,
      refetchOnWindowFocus: false,
    },
  },
});

const liveUrl = () => `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/live`;

export const live = new LiveClient({ url: typeof location === 'undefined' ? '' : liveUrl() });

export const useLiveStatus = (): Status => useSyncExternalStore(live.watch, live.getStatus);

/** Rests the line while the tab is hidden or the reader paused. */
export function useLiveLine(on: boolean): void {
  useEffect(() => {
    const update = () => (on && !document.hidden ? live.resume() : live.pause());
    update();
    document.addEventListener('visibilitychange', update);
    return () => document.removeEventListener('visibilitychange', update);
  }, [on]);
}

const POLL = 3000;

interface Question<T> {
  key: readonly unknown[];
  fetch: (signal: AbortSignal) => Promise<T>;
  /** Live topic that carries the same answer. */
  topic?: Topic;
  /** ms between fetches while live and the line does not carry this answer. */
  poll?: number;
  live: boolean;
  enabled?: boolean;
  /** Keep the former answer, dimmed, while another range loads. */
  keep?: boolean;
}

/** Follows the topics of questions on the live line; says of each question whether the line carries its answer. */
function useCarried(questions: readonly Question<unknown>[]): (q: Question<unknown>) => boolean {
  const client = useQueryClient();
  const open = useSyncExternalStore(live.watch, () => live.getStatus().phase === 'open');
  const [refused, setRefused] = useState<readonly string[]>([]);
  const follows = useRef(new Map<string, () => void>());
  const wanted = JSON.stringify(
    questions.flatMap((q) => (q.live && (q.enabled ?? true) && q.topic ? [[q.topic, q.key]] : [])),
  );
  useEffect(() => {
    const now = new Map<string, () => void>();
    const pairs = JSON.parse(wanted) as [Topic, unknown[]][];
    // The new ones first: what goes on is not asked for again, and the line is never left without a topic.
    for (const [topic, key] of pairs) {
      const name = JSON.stringify([topic, key]);
      const had = follows.current.get(name);
      follows.current.delete(name);
      now.set(
        name,
        had ??
          live.subscribe(topic, {
            data: (answer) => {
              setRefused((r) => (r.includes(name) ? r.filter((x) => x !== name) : r));
              client.setQueryData(key, answer);
            },
            gap: () => void client.invalidateQueries({ queryKey: key }),
            // The line says no to this topic: the answer goes on by polling.
            error: () => setRefused((r) => (r.includes(name) ? r : [...r, name])),
          }),
      );
    }
    for (const stop of follows.current.values()) stop();
    follows.current = now;
    setRefused((r) => (r.some((x) => !now.has(x)) ? r.filter((x) => now.has(x)) : r));
  }, [wanted, client]);
  useEffect(
    () => () => {
      for (const stop of follows.current.values()) stop();
      follows.current = new Map();
    },
    [],
  );
  return (q) => open && q.topic !== undefined && !refused.includes(JSON.stringify([q.topic, q.key]));
}

function optionsOf<T>(q: Question<T>, carried: boolean) {
  return {
    queryKey: q.key,
    queryFn: ({ signal }: { signal: AbortSignal }) => q.fetch(signal),
    enabled: q.enabled ?? true,
    refetchInterval: q.live && !carried ? (q.poll ?? POLL) : (false as const),
    placeholderData: q.keep ? keepPreviousData : undefined,
  };
}

function useAnswer<T>(q: Question<T>): UseQueryResult<T, Error> {
  const carried = useCarried([q]);
  return useQuery<T, Error>(optionsOf(q, carried(q)));
}

/** Answers to several questions of one kind, such as the pages of a list, made into one by `combine`. */
export function useAnswers<T, C>(questions: readonly Question<T>[], combine: (a: UseQueryResult<T, Error>[]) => C): C {
  const carried = useCarried(questions);
  return useQueries({ queries: questions.map((q) => optionsOf(q, carried(q))), combine }) as C;
}

export const useNow = (on: boolean) =>
  useAnswer<Now>({
    key: ['now'],
    fetch: (signal) => take(http.GET('/api/v1/now', { signal })),
    topic: { topic: 'now' },
    live: on,
  });

export const usePipelines = (on: boolean) =>
  useAnswer<Pipelines>({
    key: ['pipelines'],
    fetch: (signal) => take(http.GET('/api/v1/pipelines', { signal })),
    topic: { topic: 'pipelines' },
    live: on,
  });

export const usePipeline = (id: string, on: boolean) =>
  useAnswer<Pipeline>({
    key: ['pipeline', id],
    fetch: (signal) => take<Pipeline>(http.GET('/api/v1/pipelines/{id}', { params: { path: { id } }, signal })),
    topic: { topic: 'pipeline', key: id },
    live: on,
  });

export const useStage = (id: string, stage: string, on: boolean) =>
  useAnswer<StagePage>({
    key: ['stage', id, stage],
    fetch: (signal) =>
      take<StagePage>(http.GET('/api/v1/pipelines/{id}/stages/{stage}', { params: { path: { id, stage } }, signal })),
    topic: { topic: 'stage', key: `${id}\u001f${stage}` },
    live: on,
  });

/** A range in Unix ms; relative ones are worked out anew at each fetch. */
export type RangeNow = () => { from: number; to: number };

const whole = (r: { from: number; to: number }) => ({ from: Math.round(r.from), to: Math.round(r.to) });

export const useHistory = (id: string, rangeKey: string, range: RangeNow, on: boolean, enabled = true) =>
  useAnswer<PipelineHistory>({
    enabled,
    key: ['history', id, rangeKey],
    fetch: (signal) =>
      take(http.GET('/api/v1/pipelines/{id}/history', { params: { path: { id }, query: whole(range()) }, signal })),
    poll: 5000,
    live: on,
    keep: true,
  });

/** What is to be changed; what is left out stays as it is. Retention in seconds. */
export interface WhatIfQuery {
  destination?: string;
  group?: string;
  consumers?: number;
  rate?: number;
  per_consumer?: number;
  retention?: number;
  partitions?: number;
}

export const useWhatIf = (id: string, query: WhatIfQuery, on: boolean, enabled: boolean) =>
  useAnswer<WhatIf>({
    key: ['whatif', id, query],
    fetch: (signal) =>
      take<WhatIf>(http.GET('/api/v1/pipelines/{id}/whatif', { params: { path: { id }, query }, signal })),
    poll: 10_000,
    live: on,
    keep: true,
    enabled,
  });

export const useHeat = (
  id: string,
  destination: string,
  group: string,
  rangeKey: string,
  range: RangeNow,
  on: boolean,
) =>
  useAnswer<PartitionHeat>({
    key: ['heat', id, destination, group, rangeKey],
    fetch: (signal) =>
      take(
        http.GET('/api/v1/pipelines/{id}/heat', {
          params: { path: { id }, query: { destination, group, ...whole(range()) } },
          signal,
        }),
      ),
    poll: 15_000,
    live: on,
    keep: true,
    enabled: destination !== '' && group !== '',
  });

/** Pipelines, stages and groups by name. */
export const useFind = (q: string) =>
  useAnswer<Hits>({
    key: ['find', q],
    fetch: (signal) => take(http.GET('/api/v1/find', { params: { query: { q: q || undefined } }, signal })),
    live: false,
    keep: true,
  });

export const useConfig = (id: string) =>
  useAnswer<PipelineConfig>({
    key: ['config', id],
    fetch: (signal) => take(http.GET('/api/v1/pipelines/{id}/config', { params: { path: { id } }, signal })),
    live: false,
  });

/** Which rows of the ledger or incidents are looked for; what is left out does not choose. */
export interface LossSearch {
  pipeline?: string;
  /** Words that must all be found. */
  q?: string;
  verdict?: 'loss' | 'unknown';
}

function lossTopic(topic: 'loss' | 'incidents', { pipeline, q, verdict }: LossSearch): Topic {
  const query = new URLSearchParams({ ...(q ? { q } : {}), ...(verdict ? { verdict } : {}) }).toString();
  return { topic, ...(pipeline ? { key: pipeline } : {}), ...(query ? { query } : {}) };
}

/** The live line carries the last 24 hours of incidents; other ranges are polled. */
export const useIncidents = (rangeKey: string, range: RangeNow, search: LossSearch, on: boolean, isDefault: boolean) =>
  useAnswer<Incidents>({
    key: ['incidents', rangeKey, search],
    fetch: (signal) =>
      take(http.GET('/api/v1/incidents', { params: { query: { ...whole(range()), ...search } }, signal })),
    topic: isDefault ? lossTopic('incidents', search) : undefined,
    poll: 10_000,
    live: on,
    keep: true,
  });

export const useIncident = (id: string, on: boolean) =>
  useAnswer<IncidentDetail>({
    key: ['incident', id],
    fetch: (signal) => take(http.GET('/api/v1/incidents/{id}', { params: { path: { id } }, signal })),
    topic: { topic: 'incident', key: id },
    live: on,
  });

export const useAnnotations = (rangeKey: string, range: RangeNow, pipeline: string, on: boolean) =>
  useAnswer<Annotations>({
    key: ['annotations', rangeKey, pipeline],
    fetch: (signal) =>
      take(
        http.GET('/api/v1/annotations', {
          params: { query: { ...whole(range()), pipeline: pipeline || undefined } },
          signal,
        }),
      ),
    poll: 15_000,
    live: on,
    keep: true,
  });

/** The live line carries only the default range of the ledger; others are polled. */
export const useLoss = (rangeKey: string, range: RangeNow, search: LossSearch, on: boolean, isDefault: boolean) =>
  useAnswer<Loss>({
    key: ['loss', rangeKey, search],
    fetch: (signal) => take(http.GET('/api/v1/loss', { params: { query: { ...whole(range()), ...search } }, signal })),
    topic: isDefault ? lossTopic('loss', search) : undefined,
    poll: 10_000,
    live: on,
    keep: true,
  });

export const useLossDetail = (id: string, rangeKey: string, range: RangeNow, on: boolean) =>
  useAnswer<LossDetail>({
    key: ['loss-detail', id, rangeKey],
    fetch: (signal) => take(http.GET('/api/v1/loss/{id}', { params: { path: { id }, query: whole(range()) }, signal })),
    poll: 10_000,
    live: on,
    enabled: id !== '',
  });

export const useSelf = (on: boolean) =>
  useAnswer<Self>({
    key: ['self'],
    fetch: (signal) => take(http.GET('/api/v1/self', { signal })),
    topic: { topic: 'self' },
    live: on,
  });

export const useAlerts = (on: boolean) =>
  useAnswer<Alerts>({
    key: ['alerts'],
    fetch: (signal) => take(http.GET('/api/v1/alerts-list', { signal })),
    topic: { topic: 'alerts' },
    live: on,
  });

export interface TraceQuery {
  service?: string;
  name?: string;
  error?: boolean;
  min?: number;
  max?: number;
  attr?: string;
  limit?: number;
}

export const useTraces = (rangeKey: string, range: RangeNow, query: TraceQuery, on: boolean, enabled = true) =>
  useAnswer<Traces>({
    key: ['traces', rangeKey, query],
    fetch: (signal) => take(http.GET('/api/v1/traces', { params: { query: { ...whole(range()), ...query } }, signal })),
    poll: 10_000,
    live: on,
    keep: true,
    enabled,
  });

/** A trace never changes under the reader, and 100,000 spans are too many to compare. */
export const useTrace = (id: string) =>
  useQuery<Trace, Error>({
    queryKey: ['trace', id],
    queryFn: ({ signal }) => take(http.GET('/api/v1/traces/{id}', { params: { path: { id } }, signal })),
    staleTime: Number.POSITIVE_INFINITY,
    structuralSharing: false,
    gcTime: 60_000,
  });
