// The Prometheus API, for Explore: range and instant queries.
import { ApiError } from './client';

export interface Matrix {
  metric: Record<string, string>;
  /** Unix s, value as text. */
  values?: [number, string][];
  value?: [number, string];
}

export interface QueryAnswer {
  resultType: 'matrix' | 'vector' | 'scalar' | 'string';
  result: Matrix[];
  warnings: string[];
}

/** Runs a range query; times in Unix ms, step in seconds. */
export async function queryRange(
  q: string,
  from: number,
  to: number,
  step: number,
  signal?: AbortSignal,
): Promise<QueryAnswer> {
  const body = new URLSearchParams({
    query: q,
    start: String(from / 1000),
    end: String(to / 1000),
    step: String(step),
  });
  let response: Response;
  try {
    response = await fetch('/api/v1/query_range', { method: 'POST', body, signal });
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    throw new ApiError(0, 'cannot reach the weir server', '/api/v1/query_range');
  }
  const json = await response.json().catch(() => undefined);
  if (json?.status !== 'success') {
    const text = json?.error
      ? `${json.errorType}: ${json.error}`
      : (json?.detail ?? `the server answered ${response.status}`);
    throw new ApiError(response.status, text, '/api/v1/query_range');
  }
  const result = Array.isArray(json.data.result) ? json.data.result : [];
  return { resultType: json.data.resultType, result, warnings: [...(json.warnings ?? []), ...(json.infos ?? [])] };
}

/** Number of a sample's text: +Inf, -Inf and NaN are written out. */
export function sample(text: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (text === '-Inf') return Number.NEGATIVE_INFINITY;
  return Number(text);
}

/** `name{a="b"}` as PromQL writes it. */
export function seriesName(metric: Record<string, string>): string {
  const { __name__: name = '', ...rest } = metric;
  const labels = Object.entries(rest).map(([k, v]) => `${k}="${v}"`);
  return labels.length || !name ? `${name}{${labels.join(', ')}}` : name;
}
