// A PromQL query as the view wants it: over HTTP, and streamed while live and relative.
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import type { RangeNow } from '../../api/hooks';
import { live } from '../../api/hooks';
import { queryRange } from '../../api/prometheus';
import { niceStep } from './step';
import { fromAnswer, LiveSeries, type Result } from './table-data';

const POLL = 5000;

export function useRangeQuery(q: string, rangeKey: string, range: RangeNow, on: boolean) {
  const { from, to } = range();
  const width = Math.round((to - from) / 1000) * 1000;
  const step = niceStep(width);
  const key = `${q}|${rangeKey}`;
  const [streamed, setStreamed] = useState<{ key: string; result: Result } | undefined>();
  const streaming = streamed?.key === key ? streamed.result : undefined;

  useEffect(() => {
    if (!on || !q) return setStreamed(undefined);
    const series = new LiveSeries(width);
    const stop = live.subscribe(
      { topic: 'query', query: q, step: step * 1000, window: width },
      {
        frame: (frame) => setStreamed({ key, result: series.apply(frame) }),
        // The HTTP side shows what is wrong with a query; it goes on by polling.
        error: () => setStreamed(undefined),
      },
    );
    return () => {
      stop();
      setStreamed(undefined);
    };
  }, [q, key, width, step, on]);

  const answer = useQuery<Result, Error>({
    queryKey: ['promql', q, rangeKey],
    queryFn: async ({ signal }) => {
      const r = range();
      const end = Math.floor(r.to / 1000 / step) * step * 1000;
      return fromAnswer(await queryRange(q, end - width, end, step, signal));
    },
    enabled: q !== '',
    retry: false,
    placeholderData: keepPreviousData,
    refetchInterval: on && !streaming ? POLL : false,
  });
  return {
    answer: streaming && !answer.error ? { ...answer, data: streaming, isPlaceholderData: false } : answer,
    step,
  };
}
