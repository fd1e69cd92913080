// Answers of weir's own API about the simulated world; the shapes are those of query/answer.
import { forecasts, lossIn } from './forecast.mjs';
import { cause, latency } from './stages.mjs';
import { find, lossAt, lostBetween, noise, PIPELINES, rates, START } from './world.mjs';

const ORDER = ['LOSING', 'LATE', 'UNKNOWN', 'DRAINING', 'OK', 'IDLE'];
const HOUR = 3600e3;
const completeness = { share: 0.9998, missing: [] };

// Brokers are polled every ten seconds.
const polled = (t) => Math.floor(t / 10e3) * 10e3;

function lagOf(p, t, withHistory = true) {
  const seconds = p.lag(t);
  const state = p.state(t);
  const r = rates(p, t);
  const gain = (r.out ?? 0) - (r.in ?? 0);
  const drain = state === 'DRAINING' && gain > 0 ? (seconds * r.in) / gain : null;
  return {
    messages: seconds == null ? null : Math.round(seconds * p.rate),
    seconds,
    bound: p.bound ?? null,
    trend: state === 'LATE' ? 'growing' : state === 'DRAINING' ? 'draining' : seconds == null ? 'unknown' : 'steady',
    drain,
    drain_never: state === 'LATE',
    history: withHistory
      ? Array.from({ length: 60 }, (_, i) => p.lag(Math.floor(t / 60e3) * 60e3 - (59 - i) * 60e3) ?? -1)
      : null,
  };
}

export function row(p, t) {
  const lag = lagOf(p, t);
  const r = rates(p, t);
  const state = p.state(t);
  return {
    id: p.id,
    state,
    since: state === 'LATE' ? p.deploy + 60e3 : (p.lossFrom ?? p.unknownFrom ?? START - 26 * HOUR),
    sentence: p.sentence,
    freshness: p.freshness
      ? p.freshness(t)
      : lag.seconds == null
        ? null
        : lag.seconds + 0.4 + (state === 'LATE' ? 21 : 0),
    slowest: p.slowest,
    lag,
    in: r.in,
    out: r.out,
    lost_24h: lostBetween(p, t - 24 * HOUR, t),
    lost_bound: state === 'UNKNOWN' ? Math.min(10_000, Math.round(((t - p.unknownFrom) / 1000) * p.rate)) : 0,
    level: state === 'UNKNOWN' ? 'L0' : p.rate === 0 ? 'L1' : 'L3',
    loss_in: lossIn(p, t),
    declared: ['orders', 'clicks', 'payments', 'billing', 'audit-log'].includes(p.id),
  };
}

const sorted = (t) => PIPELINES.map((p) => row(p, t)).sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));

export function pipelines(t) {
  const rows = sorted(t);
  const counts = {};
  for (const r of rows) counts[r.state] = (counts[r.state] ?? 0) + 1;
  return { at: t, pipelines: rows, counts, completeness };
}

export function now(t) {
  const rows = sorted(t);
  const worst = rows.filter((r) => r.state !== 'OK' && r.state !== 'IDLE').slice(0, 5);
  return {
    at: t,
    state: 'LOSING',
    sentence:
      '2 pipelines lose data, 1 is late, 1 is unknown. First: clicks, where sink-es → clicks-2026 loses 2.3 % since two hours.',
    worst,
    losses: loss(t - 24 * HOUR, t, '', t).rows.filter((r) => r.lost > 0),
    changes: changes(t),
    completeness,
  };
}

export function changes(t) {
  return [
    { at: START - 38 * 60e3, text: 'deploy enrich v41', kind: 'deploy' },
    { at: START - 61 * 60e3, text: 'partitions of orders 8 → 12', kind: 'config' },
    { at: START - 2.2 * HOUR, text: 'sink-es restarted on node-04', kind: 'instance' },
  ].filter((c) => c.at <= t);
}

export function pipeline(id, t, wide = 0) {
  const p = find(id);
  if (!p) return undefined;
  const base = row(p, t);
  const r = rates(p, t);
  const nodes = [];
  const edges = [];
  const lag = lagOf(p, t, false);
  let age = 0;
  let behind = false;
  const layers = p.chain.map((c) => (Array.isArray(c) ? c : [c]));
  layers.forEach((layer, i) => {
    const queueBeforeSlow = layer.some((c) => c.kind === 'queue') && layers[i + 1]?.some((c) => c.id === p.slowest);
    for (const c of layer) {
      const silent = c.silent && base.state === 'UNKNOWN';
      const late = base.state === 'LATE';
      const state = silent
        ? 'UNKNOWN'
        : c.loses
          ? 'LOSING'
          : late && (c.slow || queueBeforeSlow)
            ? 'LATE'
            : base.state === 'DRAINING' && c.id === p.slowest
              ? 'DRAINING'
              : base.state === 'IDLE'
                ? 'IDLE'
                : 'OK';
      const inn = behind ? (late ? 6900 : r.in) : r.in;
      nodes.push({
        id: c.id,
        kind: c.kind,
        name: c.name,
        state,
        stuck: Boolean(c.slow && late),
        detail: c.kind === 'queue' ? `${queueBeforeSlow ? human(lag.seconds) : '0.1 s'} waiting` : (c.detail ?? ''),
        age: silent || (base.state === 'UNKNOWN' && behind) ? null : age,
        instances: c.instances ?? 0,
        in: silent ? null : inn,
        out: silent ? null : c.id === p.slowest || behind ? (r.out ?? null) : r.in,
        busy: c.busy ?? null,
        cpu: c.cpu ?? null,
        throttled: c.throttled ?? null,
        lost: c.loses ? base.lost_24h : 0,
        system: c.system ?? '',
      });
    }
    if (queueBeforeSlow) {
      behind = true;
      age += lag.seconds ?? 0;
    }
    age += layer.some((c) => c.kind === 'queue')
      ? 0.2
      : layer[0].kind === 'source'
        ? 0.1
        : base.state === 'LATE'
          ? 1
          : 0.15;
    const next = layers[i + 1];
    if (!next) return;
    layer.forEach((from, j) => {
      const targets = next.length === layer.length ? [next[j]] : next;
      for (const to of targets) {
        const losing = p.lossShare && (to.loses ? to.id === 'gateway' : from.loses && from.id !== 'gateway');
        const unknown = base.state === 'UNKNOWN' && (to.silent || from.silent);
        edges.push({
          id: `${from.id}>${to.id}`,
          from: from.id,
          to: to.id,
          state: unknown ? 'UNKNOWN' : losing ? 'LOSING' : base.state === 'LATE' && to.slow ? 'LATE' : 'OK',
          // As the server: counted per stage, not per branch.
          rate: unknown || (from.kind !== 'queue' && targets.length > 1) ? null : behind ? r.out : r.in,
          lag:
            from.kind === 'queue'
              ? queueBeforeSlow
                ? { ...lag, at: polled(t) }
                : {
                    ...lag,
                    seconds: 0.1,
                    messages: Math.round(0.1 * p.rate),
                    drain: null,
                    drain_never: false,
                    trend: 'steady',
                    at: polled(t),
                  }
              : null,
          group: from.kind === 'queue' ? to.id : '',
          lost: losing ? base.lost_24h : 0,
        });
      }
    });
  });
  return {
    ...base,
    at: t,
    nodes,
    edges,
    stages: nodes.filter((n) => n.kind !== 'queue').map((n) => stageRow(p, n, t)),
    partitions: partitions(p, layers, t, base, wide),
    changes: id === 'orders' ? changes(t).slice(0, 2) : [],
    cause: cause(p, t),
    forecasts: forecasts(p, t),
    latency: latency(p, t),
    watermark: p.lag(t) == null ? null : p.lag(t) + 1.2,
    evidence: base.state === 'UNKNOWN' ? 'offsets only' : 'offsets, 12,400 spans, cgroup',
    completeness:
      base.state === 'UNKNOWN'
        ? { share: 0.912, missing: ['The auditor of settle on node-03 is silent since 6 minutes.'] }
        : completeness,
  };
}

function human(s) {
  if (s == null) return '?';
  return s < 10
    ? `${s.toFixed(1)} s`
    : s < 60
      ? `${Math.round(s)} s`
      : `${Math.floor(s / 60)} m ${String(Math.round(s % 60)).padStart(2, '0')} s`;
}

function stageRow(p, n, t) {
  const inn = n.kind === 'source' ? 0 : Math.round((n.in ?? 0) * 3600);
  const lost = n.lost ? lostBetween(p, t - HOUR, t) : 0;
  const dlq = n.id === 'enrich' ? 60 : 0;
  const filtered = n.id === 'dedupe' ? Math.round(inn * 0.012) : 0;
  return {
    stage: n.name,
    state: n.state,
    instances: Array.from({ length: n.instances || 1 }, (_, i) => `${n.name}-${i}`),
    in: inn,
    out: n.kind === 'sink' ? 0 : Math.round((n.out ?? 0) * 3600) - dlq,
    filtered,
    dlq,
    dropped: 0,
    lost,
    surplus: 0,
    p50: n.kind === 'stage' ? 0.0042 : null,
    p99: n.kind === 'stage' ? (n.stuck ? 0.311 : 0.038) : null,
    rate_in: n.kind === 'source' ? null : n.in,
    rate_out: n.kind === 'sink' ? null : n.out,
    bytes: n.kind === 'sink' ? 0 : Math.round((n.out ?? 0) * 3600 * 412),
    amplify: n.kind !== 'stage' || !n.in || n.out == null ? null : n.id === 'geofence' ? 3 : n.out / n.in,
    busy: n.busy,
    pressure: n.busy == null ? null : n.id === p.slowest ? 0.01 : 0.06,
    watermark: n.kind === 'stage' && n.id === p.slowest && p.lag(t) != null ? p.lag(t) + 1.2 : null,
    services: [n.name],
    version: n.stuck ? 'v41' : 'v40',
  };
}

function partitions(p, layers, t, base, wide) {
  const out = [];
  layers.forEach((layer, i) => {
    layer.forEach((q, j) => {
      if (q.kind !== 'queue') return;
      const reader = layers[i + 1]?.[layers[i + 1].length === layer.length ? j : 0];
      const hot = reader?.id === p.slowest && base.state === 'LATE';
      for (let n = 0; n < (wide || q.parts); n++) {
        const share = hot ? (n === 3 ? 0.45 : n === 7 ? 0.36 : 0.19 / (q.parts - 2)) : 1 / q.parts;
        const backlog = hot ? (base.lag.messages ?? 0) * share : p.rate * 0.1 * share;
        const end = 40_000_000 + Math.round(((t - START + 24 * HOUR) / 1000) * (p.rate / q.parts));
        const unknown = reader?.silent && base.state === 'UNKNOWN';
        const seconds = unknown
          ? null
          : hot
            ? base.lag.seconds * Math.min(1, share * 2.2)
            : p.rate === 0
              ? 0
              : 0.05 + 0.1 * noise(`${q.id}${n}`, t);
        out.push({
          system: q.system,
          destination: q.name,
          partition: String(n),
          group: reader?.id ?? '',
          start: end - 30_000_000,
          end,
          committed: unknown ? null : Math.round(end - backlog),
          pending: unknown ? null : Math.round(backlog * 0.01),
          redelivered: 0,
          lag: {
            ...base.lag,
            seconds,
            messages: unknown ? null : Math.round(backlog),
            history: null,
            drain: null,
            drain_never: hot && share > 0.3,
            trend: hot && share > 0.3 ? 'growing' : unknown ? 'unknown' : 'steady',
          },
          state: unknown ? 'UNKNOWN' : hot && share > 0.3 ? 'LATE' : base.state === 'IDLE' ? 'IDLE' : 'OK',
        });
      }
    });
  });
  return out;
}

export function history(id, from, to, step) {
  const p = find(id);
  if (!p) return undefined;
  const times = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) times.push(t);
  const series = (name, unit, f) => ({ name, unit, points: times.map((t) => ({ t, v: f(t) ?? null })) });
  const queues = p.chain.flat().filter((c) => c.kind === 'queue');
  return {
    from,
    to,
    step,
    series: [
      series(`lag ${p.slowest || 'packer'}`, 's', (t) => p.lag(t)),
      series(`bound ${p.slowest || 'packer'}`, 's', (t) => (p.lag(t) == null ? null : (p.bound ?? 0))),
      ...queues.slice(1, 2).map((q) => series(`lag of ${q.name}`, 's', (t) => 0.1 + 0.1 * noise(q.id, t))),
      series('in', 'records/s', (t) => rates(p, t).in),
      series('out', 'records/s', (t) => rates(p, t).out),
      series('freshness', 's', (t) => (p.freshness ? p.freshness(t) : p.lag(t) == null ? null : p.lag(t) + 0.5)),
    ],
  };
}

// ---- loss ledger

const EXPLAINED = { pipeline: 'orders', where: 'parse', id: 'balance/orders/parse' };

function ledger() {
  const losing = PIPELINES.filter((p) => p.lossShare).map((p) => ({
    id: `${p.lossKind}/${p.id}/${p.lossWhere}`,
    p,
    where: p.lossWhere,
    kind: p.lossKind,
  }));
  return [
    ...losing,
    {
      id: 'transport/search-index/tokenise retry',
      p: find('search-index'),
      where: 'tokenise retry path',
      kind: 'transport',
      late: true,
    },
    { id: 'balance/ledger-sync/settle', p: find('ledger-sync'), where: 'settle', kind: 'balance', unknown: true },
    { id: EXPLAINED.id, p: find('orders'), where: 'parse', kind: 'balance', dlq: true },
    { id: 'transport/billing/parse', p: find('billing'), where: 'app → billing → parse', kind: 'transport' },
    { id: 'transport/payments/fraud', p: find('payments'), where: 'app → payments → fraud', kind: 'transport' },
  ];
}

function lossRow(e, from, to, t) {
  const cells = 96;
  const width = (to - from) / cells;
  const ribbon = Array.from({ length: cells }, (_, i) => {
    const at = from + i * width;
    let state = at > t - 90e3 ? 'IN_FLIGHT' : 'OK';
    let lost = 0;
    if (e.p.lossShare) {
      lost = lostBetween(e.p, at, Math.min(at + width, t));
      if (lost > 0) state = 'LOSS';
    }
    if (e.late && i >= cells - 3) state = 'LATE';
    if (e.unknown && at + width > e.p.unknownFrom) state = 'UNKNOWN';
    if (e.dlq && i === 31) state = 'FILTERED';
    if (i < 2 && e.where === 'parse') state = '';
    return { window: Math.floor(at / 1000), state, lost };
  });
  const lost = e.p.lossShare ? lostBetween(e.p, from, to) : 0;
  const up = Math.round((e.p.rate * (to - Math.max(from, e.p.lossFrom ?? from))) / 1000);
  return {
    id: e.id,
    pipeline: e.p.id,
    kind: e.kind,
    where: e.where,
    verdict: lost > 0 ? 'LOSS' : e.late ? 'LATE' : e.unknown ? 'UNKNOWN' : e.dlq ? 'FILTERED' : 'OK',
    since:
      lost > 0
        ? Math.floor(e.p.lossFrom / 1000)
        : e.late
          ? Math.floor(t / 1000) - 720
          : e.unknown
            ? Math.floor(e.p.unknownFrom / 1000)
            : null,
    still: lost > 0,
    lost,
    bound: e.unknown ? 10_000 : 0,
    surplus: 0,
    up,
    // Late ones are on their way, dead letters left on purpose: they came in and did not come out.
    down: up - lost - (e.late ? 1200 : e.dlq ? 60 : 0),
    share: lost > 0 ? e.p.lossShare : null,
    class:
      e.p.lossClass && lost > 0
        ? e.p.lossClass
        : e.late
          ? 'arrives within 90 s'
          : e.unknown
            ? 'application ended without its last counts'
            : e.dlq
              ? 'dead letters'
              : '',
    level: e.unknown ? 'L0' : e.p.id === 'iot-west' ? 'L2' : 'L3',
    confidence: e.unknown ? 0 : e.p.id === 'iot-west' ? 0.99 : 0.999,
    ribbon,
    incident: lost > 0 ? incidentId(e.id, e.p.lossFrom) : e.unknown ? incidentId(e.id, e.p.unknownFrom) : '',
  };
}

/** As the server writes them: the edge, escaped, and the first window, Unix s. */
export const incidentId = (row, from) =>
  `${row.split('/').map(encodeURIComponent).join('~')}~${Math.floor(from / 60e3) * 60}`;

/** The ledger of one pipeline over the last 24 h. */
export const lossRowsOf = (id, t) => loss(t - 24 * HOUR, t, id, t).rows;

const reasonsOf = (e) =>
  e.p.lossShare
    ? [
        'All 24 partitions passed the barrier of this window: nothing is in flight.',
        'Fingerprints differ on both sides; 1,139 of 48,750 sampled ids are missing downstream (2.34 %, 2.20 to 2.48).',
        'Elasticsearch answered 429 to 311 bulk requests; the sink did not retry.',
      ]
    : e.unknown
      ? [
          'The auditor of settle on node-03 has sent nothing for 6 minutes.',
          'Without its counts nobody can say whether records are lost; at most 10,000 are concerned.',
        ]
      : ['Both sides counted the same records and their fingerprints are equal.'];

const LOSSES = ['LOSS', 'MIXED', 'PROBABLE_LOSS', 'RETENTION_LOSS', 'SKIPPED'];
const PICKS = { loss: (r) => LOSSES.includes(r.verdict), unknown: (r) => !r.verdict || r.verdict === 'UNKNOWN' };
const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
const has = (texts, text) => words(text).every((w) => texts.join('\n').toLowerCase().includes(w));
/** Whether an incident has the words of a search. */
export const incidentHas = (i, text) => has([i.pipeline, i.stage, i.row.where, i.class, i.verdict, i.sentence], text);

export function loss(from, to, pipeline, t, { q = '', verdict = '' } = {}) {
  const all = ledger()
    .filter((e) => !pipeline || e.p.id === pipeline)
    .map((e) => ({ e, r: lossRow(e, from, to, t) }));
  const found = all
    .filter(({ e, r }) => has([r.pipeline, r.where, r.kind, r.verdict, r.class, r.level, ...reasonsOf(e)], q))
    .map((x) => x.r);
  return {
    at: t,
    from,
    to,
    rows: found.filter(PICKS[verdict] ?? (() => true)),
    left: 0,
    found: { all: found.length, loss: found.filter(PICKS.loss).length, unknown: found.filter(PICKS.unknown).length },
    watched: all.length,
    lost: all.reduce((n, { r }) => n + r.lost, 0),
    completeness,
  };
}

export function lossDetail(id, from, to, t) {
  const e = ledger().find((x) => x.id === id);
  if (!e) return undefined;
  const windows = [];
  for (let i = 0; i < 60; i++) {
    const window = Math.floor((t - i * 60e3) / 60e3) * 60;
    if (window * 1000 < from) break;
    const settled = i > 1;
    const up = Math.round(e.p.rate * 60 * (i === 0 ? ((t / 1000) % 60) / 60 : 1));
    const lost = settled ? Math.round(up * lossAt(e.p, window * 1000)) : 0;
    const dlq = e.dlq && i === 20 ? 60 : 0;
    const inFlight = settled ? 0 : Math.round(up * 0.3);
    windows.push({
      window,
      width: 60,
      verdict: !settled ? 'IN_FLIGHT' : e.unknown && i < 7 ? 'UNKNOWN' : lost > 0 ? 'LOSS' : 'OK',
      settled,
      settled_at: settled ? (window + 97) * 1000 : 0,
      up,
      down: up - lost - dlq - inFlight,
      filtered: 0,
      dlq,
      dropped: 0,
      in_flight: inFlight,
      lost,
      surplus: 0,
      epsilon: e.p.id === 'iot-west' ? 40 : 0,
      revision: i === 5 ? 2 : 1,
      confidence: settled ? 0.999 : 0.5,
    });
  }
  const reasons = reasonsOf(e);
  return {
    row: lossRow(e, from, to, t),
    windows,
    reasons,
    examples: e.p.lossShare ? ['c-88f1a2', 'c-88f1b9', 'c-88f1c0', '4bf92f3577b34da6a3ce929d0e0e4736'] : [],
  };
}

// ---- alerts, self

export function alerts(t) {
  const at = (m) => START - m * 60e3;
  const mk = (id, rule, pipelineId, stage, state, severity, summary, since, extra = {}) => ({
    id,
    rule,
    pipeline: pipelineId,
    stage,
    state,
    severity,
    summary,
    since,
    fired_at: state === 'pending' ? 0 : since + 60e3,
    ended_at: 0,
    notified: state === 'pending' ? '' : 'sent',
    ...extra,
  });
  return {
    at: t,
    alerts: [
      mk(
        'a1',
        'losing',
        'clicks',
        'sink-es',
        'firing',
        'critical',
        'clicks loses 2.3 % between sink-es and clicks-2026 (rejected 429)',
        at(131),
      ),
      mk(
        'a2',
        'losing',
        'iot-west',
        'gateway',
        'firing',
        'critical',
        'iot-west loses packets before gateway (socket full)',
        at(276),
        { notified: 'failed: the webhook answered 503' },
      ),
      mk(
        'a3',
        'late',
        'orders',
        'enrich',
        'firing',
        'warning',
        'orders is late: enrich takes 6.9 k/s of 8.1 k/s',
        at(37),
      ),
      mk(
        'a4',
        'late',
        'search-index',
        'tokenise',
        'pending',
        'warning',
        'search-index is late: tokenise works off a backlog',
        at(2),
      ),
      mk('a5', 'late', 'billing', 'parse', 'resolved', 'warning', 'billing was late: parse restarted', at(52), {
        ended_at: at(41),
      }),
    ],
  };
}

export function self(t) {
  const up = (t - START) / 1000 + 86_400;
  const door = (node, part, name, unit, rate, dropped = [], spooled = 0, diff = 0) => {
    const received = Math.round(up * rate);
    const lost = dropped.reduce((n, d) => n + d.count, 0);
    return {
      node,
      part,
      door: name,
      unit,
      received,
      stored: received - lost - spooled - diff,
      spooled,
      dropped,
      balanced: diff === 0,
      diff,
      rate,
    };
  };
  const nodes = ['node-01', 'node-02', 'node-17'];
  const doors = nodes.flatMap((n, i) => [
    door(
      n,
      'collector',
      'statsd_udp',
      'metrics',
      120_000 - i * 30_000,
      i === 2
        ? [
            { reason: 'parse', count: 412 },
            { reason: 'series_limit', count: 18 },
          ]
        : [],
    ),
    door(n, 'collector', 'scrape', 'samples', 50_000),
    door(n, 'collector', 'otlp_traces', 'spans', 4200),
    door(n, 'collector', 'audit', 'increments', 900),
    door(n, 'spool', 'samples', 'samples', 61_000, [], i === 2 ? 48_211 : 0),
    door(n, 'spool', 'spans', 'spans', 4200, [], i === 2 ? 1904 : 0),
  ]);
  doors.push(
    door('server', 'ingest', 'remote_write', 'samples', 183_000),
    door('server', 'ingest', 'otlp_traces', 'spans', 12_600, [{ reason: 'bad_trace_id', count: 3 }]),
    door('server', 'ingest', 'audit', 'cells', 140),
  );
  return {
    at: t,
    balanced: doors.every((d) => d.balanced),
    doors,
    collectors: [
      { node: 'node-01', state: 'OK', last_seen: t - 700, epoch: START - 26 * HOUR, gaps: 0, version: '0.1.0' },
      { node: 'node-02', state: 'OK', last_seen: t - 900, epoch: START - 26 * HOUR, gaps: 0, version: '0.1.0' },
      { node: 'node-17', state: 'LATE', last_seen: t - 2400, epoch: START - 3 * HOUR, gaps: 0, version: '0.1.0' },
      {
        node: 'node-03',
        state: 'UNKNOWN',
        last_seen: START - 6 * 60e3,
        epoch: START - 26 * HOUR,
        gaps: 2,
        version: '0.0.9',
      },
    ],
    store: [
      { name: 'Active series', value: 214_411, unit: '' },
      { name: 'Samples on disk', value: 1.27e10, unit: '' },
      { name: 'Blocks', value: 18_400_000_000, unit: 'bytes' },
      { name: 'Write-ahead log', value: 412_000_000, unit: 'bytes' },
      { name: 'Spans', value: 48_200_000, unit: '' },
      { name: 'Span blocks', value: 3_900_000_000, unit: 'bytes' },
      { name: 'Oldest sample', value: 1_209_600, unit: 'seconds' },
    ],
    version: '0.1.0-mock',
  };
}
