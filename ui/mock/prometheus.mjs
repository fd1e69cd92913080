// As much of the Prometheus API as Explore needs: a few series, no real engine. A query is answered
// with the series of the first metric named in it, transformed a little by the function around it.
import { noise, PIPELINES, rates } from './world.mjs';

const NODES = ['node-01', 'node-02', 'node-17'];

const METRICS = {
  weir_collector_received_total: {
    type: 'counter',
    help: 'Records received at a door.',
    label: 'door',
    values: ['statsd_udp', 'scrape', 'otlp_traces'],
  },
  weir_broker_end_offset: {
    type: 'gauge',
    help: 'Offset the next record will get.',
    label: 'destination',
    values: ['orders', 'clicks', 'iot'],
  },
  weir_broker_committed_offset: {
    type: 'gauge',
    help: 'Next offset the group has not acknowledged.',
    label: 'destination',
    values: ['orders', 'clicks', 'iot'],
  },
  weir_pipeline_lag_seconds: {
    type: 'gauge',
    help: 'Lag of the slowest stage.',
    label: 'pipeline',
    values: PIPELINES.slice(0, 6).map((p) => p.id),
  },
  weir_pipeline_in_rate: {
    type: 'gauge',
    help: 'Records per second from the sources.',
    label: 'pipeline',
    values: PIPELINES.slice(0, 6).map((p) => p.id),
  },
  node_cpu_seconds_total: {
    type: 'counter',
    help: 'Seconds the CPUs spent in each mode.',
    label: 'node',
    values: NODES,
  },
  up: { type: 'gauge', help: 'Whether the last scrape worked.', label: 'node', values: NODES },
};

function valueAt(metric, value, t, isRate) {
  const p = PIPELINES.find((x) => x.id === value);
  if (metric === 'weir_pipeline_lag_seconds') return p.lag(t);
  if (metric === 'weir_pipeline_in_rate') return rates(p, t).in;
  if (metric === 'up') return value === 'node-17' && Math.floor(t / 60e3) % 47 === 0 ? 0 : 1;
  const base = 1000 * (1 + value.length) * (1 + 0.1 * Math.sin(t / 400e3 + value.length)) + 60 * noise(value, t);
  return isRate || !METRICS[metric].type.startsWith('c') ? base : (t / 1000 - 1.7e9) * base;
}

/** The series a query names; throws what Prometheus would say about a wrong one. */
function parse(q) {
  const open = (q.match(/[({[]/g) ?? []).length;
  const close = (q.match(/[)}\]]/g) ?? []).length;
  if (open !== close) throw new Error(`1:${q.length + 1}: parse error: unclosed left parenthesis`);
  const metric = (q.match(/[a-zA-Z_:][\w:]*/g) ?? []).find((w) => METRICS[w]);
  if (metric === undefined) return undefined;
  const { label, values } = METRICS[metric];
  const want = new RegExp(`${label}="([^"]*)"`).exec(q)?.[1];
  return {
    metric,
    label,
    values: values.filter((v) => !want || v === want),
    isRate: /rate|increase/.test(q),
    sum: /^\s*sum\s*\(/.test(q),
  };
}

const labels = (p, v) => (p.isRate ? { [p.label]: v } : { __name__: p.metric, [p.label]: v });

export function queryRange(q, startMs, endMs, stepMs) {
  const p = parse(q);
  if (!p) return { resultType: 'matrix', result: [] };
  const line = (f) => {
    const values = [];
    for (let t = startMs; t <= endMs; t += stepMs) {
      const v = f(t);
      if (v != null) values.push([t / 1000, String(v)]);
    }
    return values;
  };
  if (p.sum)
    return {
      resultType: 'matrix',
      result: [
        { metric: {}, values: line((t) => p.values.reduce((n, v) => n + (valueAt(p.metric, v, t, p.isRate) ?? 0), 0)) },
      ],
    };
  return {
    resultType: 'matrix',
    result: p.values.map((v) => ({ metric: labels(p, v), values: line((t) => valueAt(p.metric, v, t, p.isRate)) })),
  };
}

export function seriesAt(q, t) {
  const p = parse(q);
  if (!p) return [];
  return p.values.map((v) => ({ labels: labels(p, v), value: valueAt(p.metric, v, t, p.isRate) }));
}

export const metadata = () =>
  Object.fromEntries(Object.entries(METRICS).map(([k, m]) => [k, [{ type: m.type, help: m.help, unit: '' }]]));
export const labelNames = () => ['__name__', ...new Set(Object.values(METRICS).map((m) => m.label))];
export const labelValues = (name) =>
  name === '__name__'
    ? Object.keys(METRICS)
    : [...new Set(Object.values(METRICS).flatMap((m) => (m.label === name ? m.values : [])))];
export const series = () =>
  Object.entries(METRICS).flatMap(([name, m]) => m.values.map((v) => ({ __name__: name, [m.label]: v })));
