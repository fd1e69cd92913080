// Forecasts of the simulated world: what happens next to a group, and what would help. Closed
// formulas per partition, as in docs/pipeline-model.md, so that the two curves and the sentence agree.
import { find, rates } from './world.mjs';

const RETENTION = { orders: 2 * 3600, 'search-index': 86_400, clicks: 7 * 86_400 };
/** Share of the inflow of each of the two hot partitions of orders. */
const HOT = 0.173;

/** Partitions of the slowest stage's input: inflow and backlog each. */
function parts(p, t, count) {
  const { in: rate } = rates(p, t);
  const lag = p.lag(t) ?? 0;
  const hot = p.id === 'orders' && count === 12;
  return Array.from({ length: count }, (_, i) => {
    const share = hot ? (i === 3 || i === 7 ? HOT : (1 - 2 * HOT) / (count - 2)) : 1 / count;
    const held = hot ? (i === 3 ? 0.45 : i === 7 ? 0.36 : 0.19 / (count - 2)) : 1 / count;
    return { partition: String(i), in: rate * share, lag: Math.round(lag * p.rate * held) };
  });
}

/** Records per second each partition is read with: one reader each, evenly spread; what is left goes to the hot ones. */
function taken(list, consumers, each) {
  const n = Math.max(1, Math.min(consumers, list.length));
  const per = list.length / n;
  const usual = list.reduce((least, x) => Math.min(least, x.in), Number.POSITIVE_INFINITY);
  return list.map((x) => {
    const most = each - (per - 1) * usual;
    return x.lag > 0 ? Math.max(most, each / per) : Math.min(x.in, most);
  });
}

const drainOf = (lag, in_, out) => (lag <= 0 ? 0 : out > in_ * 1.001 ? lag / (out - in_) : null);

function input(p) {
  const flat = p.chain.flat();
  const i = flat.findIndex((c) => c.name === p.slowest || c.id === p.slowest);
  const queue = flat[i - 1]?.kind === 'queue' ? flat[i - 1] : flat.find((c) => c.kind === 'queue');
  const reader = flat[flat.indexOf(queue) + 1];
  return { queue, reader };
}

const CONSUMERS = { orders: [3, 2300], 'search-index': [5, 3780] };

function compute(p, t, q = {}) {
  const { queue, reader } = input(p);
  const [n0, each0] = CONSUMERS[p.id] ?? [reader?.instances || 2, (p.rate || 1) / (reader?.instances || 2) / 0.4];
  const consumers = q.consumers || n0;
  const each = each0 * (q.perConsumer || 1);
  const count = q.partitions || queue.parts;
  const list = parts(p, t, count).map((x) => ({ ...x, in: x.in * (q.rate || 1) }));
  const out = taken(list, consumers, each);
  const retention = q.retention || RETENTION[p.id] || null;
  const age = p.lag(t) ?? 0;
  let worst = 0;
  const drains = list.map((x, i) => drainOf(x.lag, x.in, out[i]));
  drains.forEach((d, i) => {
    const w = drains[worst];
    if (w !== null && (d === null || d > w)) worst = i;
  });
  const speed = out[worst] / (list[worst].in || 1);
  const busy = age > 1;
  const drain = drains.some((d) => d === null) ? null : Math.max(...drains);
  const lossIn = retention && busy && speed < 1 ? (retention - age) / (1 - speed) : undefined;
  const mean = list.reduce((s, x) => s + x.in, 0) / list.length;
  return {
    list,
    out,
    drains,
    forecast: {
      destination: queue.name,
      group: reader?.id ?? '',
      stage: reader?.name ?? '',
      drain: busy
        ? { value: drain, low: drain === null ? null : drain * 0.82, high: drain === null ? null : drain * 1.31 }
        : null,
      loss_in: lossIn === undefined ? null : { value: lossIn, low: lossIn * 0.86, high: lossIn * 1.22 },
      loss_by: lossIn === undefined ? '' : 'age',
      retention,
      speed: busy ? speed : null,
      partition: busy ? list[worst].partition : '',
      skew: mean > 0 ? Math.max(...list.map((x) => x.in)) / mean : null,
      partitions: count,
      consumers,
      per_consumer: each,
    },
  };
}

export const forecasts = (p, t) => (p.state(t) === 'UNKNOWN' || p.rate === 0 ? [] : [compute(p, t).forecast]);

export const lossIn = (p, t) => forecasts(p, t)[0]?.loss_in?.value ?? null;

function words(seconds) {
  if (seconds === null) return 'never';
  if (seconds < 90) return `in ${Math.round(seconds)} s`;
  return seconds < 5400 ? `in ${Math.round(seconds / 60)} minutes` : `in ${(seconds / 3600).toFixed(1)} hours`;
}

function sentence(base, changed, q) {
  if (!base.forecast.drain && !changed.forecast.drain) return 'Nothing waits; with these figures nothing would.';
  const a = base.forecast.drain?.value ?? null;
  const b = changed.forecast.drain?.value ?? null;
  const hot = changed.forecast.skew > 1.5 ? ` Partition ${changed.forecast.partition} decides.` : '';
  if (Object.values(q).every((v) => !v)) return `As it is, the backlog is gone ${words(a)}.${hot}`;
  return b === null
    ? `The backlog would still never be gone.${hot}`
    : `The backlog would be gone ${words(b)} instead of ${words(a)}.${hot}`;
}

function curve(x, s) {
  return x.list.reduce((sum, p, i) => sum + Math.max(0, p.lag + (p.in - x.out[i]) * s), 0);
}

export function whatif(id, q, t) {
  const p = find(id);
  if (!p || p.rate === 0) return undefined;
  const base = compute(p, t);
  const changed = compute(p, t, q);
  const drains = [base, changed].map((x) => x.forecast.drain?.value ?? 0);
  const span = Math.min(6 * 3600, Math.max(900, ...drains.map((d) => (d ?? 3600) * 1.25)));
  const { consumers } = base.forecast;
  const options = [...new Set([1, 2, 3, 4, 6, 8, 12, 16, 24, consumers, q.consumers || consumers])]
    .filter((n) => n <= Math.max(16, base.forecast.partitions + 4))
    .sort((a, b) => a - b);
  return {
    base: base.forecast,
    changed: changed.forecast,
    sentence: sentence(base, changed, q),
    curve: Array.from({ length: 61 }, (_, i) => {
      const s = (span * i) / 60;
      return { in: s, base: curve(base, s), changed: curve(changed, s) };
    }),
    each: changed.list
      .map((x, i) => ({
        partition: x.partition,
        lag: x.lag,
        in: x.in,
        base: base.drains[i] === undefined ? null : base.drains[i],
        changed: changed.drains[i],
      }))
      .sort((a, b) => b.lag - a.lag),
    consumers: options.map((n) => ({
      consumers: n,
      drain: compute(p, t, { ...q, consumers: n }).forecast.drain?.value ?? null,
    })),
  };
}

/** Backlog by partition and time; `wide` is the number of partitions a test asks for. */
export function heat(id, destination, group, from, to, step, wide = 0) {
  const p = find(id);
  const queue = p?.chain.flat().find((c) => c.kind === 'queue' && c.name === destination);
  if (!queue) return undefined;
  const { queue: first } = input(p);
  const all = wide || queue.parts;
  const shown = Math.min(500, all);
  const slow = queue === first && ['LATE', 'DRAINING'].includes(p.state(to));
  const times = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) times.push(t);
  const unknown = p.state(to) === 'UNKNOWN';
  const base = times.map((t) => (slow ? parts(p, t, queue.parts) : null));
  const rows = Array.from({ length: shown }, (_, i) =>
    times.map((t, k) => {
      if (unknown && t > p.unknownFrom) return -1;
      const quiet = (p.rate / all) * 0.1 * (0.7 + 0.6 * Math.abs(Math.sin(i * 7 + t / 300e3)));
      if (!base[k]) return wide && i === 41 ? quiet * 30 : quiet;
      return base[k][i % queue.parts].lag + quiet;
    }),
  );
  let max = 0;
  for (const r of rows) for (const v of r) if (v > max) max = v;
  return {
    destination,
    group,
    from,
    to,
    step,
    partitions: rows.map((_, i) => String(i)),
    backlog: rows,
    max,
    left: all - shown,
  };
}
