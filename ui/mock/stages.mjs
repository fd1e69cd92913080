// Answers about stages and consumer groups of the simulated world.
import { changes, lossRowsOf, pipeline, pipelines, row } from './answers.mjs';
import { forecasts } from './forecast.mjs';
import { find, noise, START } from './world.mjs';

const HOUR = 3600e3;

export function cause(p, t) {
  const state = p.state(t);
  if (p.id === 'orders' && state === 'LATE')
    return {
      stage: 'enrich',
      class: 'throttled',
      sentence:
        'enrich takes 6.9 k/s of 8.1 k/s: enrich-2 on node-17 is throttled 41 % of the time since the deploy of v41; partitions 3 and 7 hold 81 % of the backlog.',
      since: p.deploy + 60e3,
      before: changes(t)[0] ?? null,
      facts: [
        'enrich takes 6.9 k/s, 8.1 k/s arrive: the backlog grows by 1.2 k/s.',
        'enrich-2 was throttled in 41 % of the periods of the last 5 minutes; before 14:01 in none.',
        'Partitions 3 and 7 hold 81 % of the backlog; the largest inflow is 2.1 times the mean.',
        'Nothing downstream waits: enriched holds 0.1 s.',
      ],
    };
  if (p.id === 'search-index' && state === 'DRAINING')
    return {
      stage: 'tokenise',
      class: 'draining',
      sentence: 'tokenise works off a backlog after its restart: 18.9 k/s of 14.2 k/s that arrive.',
      since: START - 41 * 60e3,
      before: { at: START - 41 * 60e3, text: 'tokenise restarted on 5 nodes', kind: 'instance' },
      facts: ['The backlog shrinks by 4.7 k/s.', 'The group was empty for 95 s.'],
    };
  return null;
}

/** How long records take from their origin to each stage: grows along the way, jumps where the data waits. */
export function latency(p, t) {
  let at = 0.004;
  const out = [];
  for (const layer of p.chain) {
    const list = Array.isArray(layer) ? layer : [layer];
    for (const c of list) {
      if (c.kind !== 'stage' || (c.silent && p.state(t) === 'UNKNOWN')) continue;
      at += c.id === p.slowest ? (p.lag(t) ?? 0) : 0.12;
      out.push({
        stage: c.name,
        destination: '',
        count: Math.round(p.rate * 3600),
        p50: at * 0.6,
        p90: at * 1.1,
        p95: at * 1.3,
        p99: at * 1.9,
        max: at * 3.2,
        clamped: p.id === 'audit-log' ? 4211 : 0,
        skew: p.id === 'audit-log' ? 0.31 : 0,
      });
    }
  }
  return out;
}

function containers(p, c, late) {
  return Array.from({ length: Math.min(40, c.instances || 1) }, (_, i) => {
    const hot = late && i === 2;
    const cpu = (c.cpu ?? 2 * (c.busy ?? 0.1)) / (c.instances || 1);
    return {
      node: `node-${String(i === 2 ? 17 : i + 4).padStart(2, '0')}`,
      container: `${c.name}-${i}`,
      service: c.name,
      version: late ? 'v41' : 'v40',
      cpu: hot ? 0.98 : cpu,
      cpu_limit: c.id === 'gateway' ? null : 1,
      throttled: hot ? 0.41 : 0,
      memory: (310 + 30 * i + 90 * (c.busy ?? 0)) * 1048576,
      mem_limit: c.id === 'gateway' ? null : 512 * 1048576,
      oom: p.id === 'search-index' && i === 0 ? 1 : 0,
    };
  });
}

/** Everything about one stage. */
export function stage(id, name, t, wide = 0) {
  const p = find(id);
  const whole = pipeline(id, t, wide);
  const c = p?.chain.flat().find((x) => x.kind !== 'queue' && (x.name === name || x.id === name));
  if (!c) return undefined;
  const node = whole.nodes.find((n) => n.id === c.id);
  const state = p.state(t);
  const late = state === 'LATE' && c.slow;
  const inputs = whole.edges
    .filter((e) => e.to === c.id)
    .map((e) => ({ e, q: whole.nodes.find((n) => n.id === e.from && n.kind === 'queue') }))
    .filter((x) => x.q)
    .map(({ e, q }) => ({
      destination: q.name,
      group: c.id,
      system: q.system,
      lag: e.lag ? { ...e.lag, history: row(p, t).lag.history } : null,
      rate: c.silent && state === 'UNKNOWN' ? null : whole.in,
      taken: node.out ?? node.in,
      forecast: forecasts(p, t).find((f) => f.stage === c.name) ?? {
        ...(forecasts(p, t)[0] ?? {
          loss_by: '',
          retention: null,
          skew: null,
          partitions: 1,
          consumers: null,
          per_consumer: null,
        }),
        destination: q.name,
        group: c.id,
        stage: c.name,
        drain: null,
        loss_in: null,
        loss_by: '',
        speed: null,
        partition: '',
      },
      members: q.system === 'nats' ? null : c.instances,
      group_state: q.system === 'nats' ? '' : 'Stable',
      rebalances: q.system === 'nats' ? null : late ? 2 : 0,
    }));
  const names = new Set(inputs.map((i) => i.destination));
  return {
    at: t,
    pipeline: id,
    node,
    row: whole.stages.find((s) => s.stage === c.name),
    cause: whole.cause?.stage === c.name ? whole.cause : null,
    inputs,
    outputs: whole.edges.filter((e) => e.from === c.id).map((e) => whole.nodes.find((n) => n.id === e.to).name),
    containers: c.kind === 'sink' ? [] : containers(p, c, late),
    versions: [
      ...(late ? [{ version: 'v41', image: `${c.name}:v41`, instances: c.instances, first: p.deploy, last: t }] : []),
      {
        version: 'v40',
        image: `${c.name}:v40`,
        instances: late ? 0 : c.instances || 1,
        first: START - 300 * HOUR,
        last: late ? p.deploy : t,
      },
    ],
    partitions: whole.partitions.filter((r) => names.has(r.destination) && r.group === c.id),
    losses: lossRowsOf(id, t).filter((l) => l.where.includes(c.name)),
    latency: whole.latency.filter((l) => l.stage === c.name),
    watermark: c.kind === 'stage' && c.slow ? (p.lag(t) ?? 0) + 1.2 : null,
    busy: c.busy ?? null,
    pressure: c.busy == null ? null : c.id === p.slowest ? 0.01 : 0.06,
    slow:
      c.name === 'enrich'
        ? [
            { name: 'GET customer (customer-cache)', share: 0.38, p99: 0.021, spans: 48_211 },
            { name: 'POST /score (fraud)', share: 0.22, p99: 0.034, spans: 48_190 },
            { name: 'SELECT orders (postgresql)', share: 0.04, p99: 0.006, spans: 2_114 },
          ]
        : [],
    changes: whole.changes,
    completeness: whole.completeness,
  };
}

// ---- groups

const SYSTEMS = ['kafka', 'kafka', 'kafka', 'nats', 'rabbitmq'];
const TEAMS = ['checkout', 'search', 'billing', 'risk', 'logistics', 'mobile', 'ads', 'archive'];
const ORDER = ['LOSING', 'LATE', 'UNKNOWN', 'DRAINING', 'OK', 'IDLE'];
const MANY = 15_000;
let all;

function everybody() {
  all ??= Array.from({ length: MANY }, (_, i) => {
    const r = noise(`group ${i}`, 0);
    const system = SYSTEMS[i % SYSTEMS.length];
    const state = r < 0.002 ? 'LATE' : r < 0.006 ? 'UNKNOWN' : r < 0.01 ? 'DRAINING' : r > 0.96 ? 'IDLE' : 'OK';
    const seconds =
      state === 'UNKNOWN' ? null : state === 'LATE' ? 60 + 9000 * r * 100 : state === 'DRAINING' ? 20 + r * 900 : r;
    const destination = `${TEAMS[i % TEAMS.length]}.events.${Math.floor(i / 64)}`;
    const group = `${TEAMS[(i * 7) % TEAMS.length]}-reader-${i}`;
    return {
      id: `${system}~main~${destination}~${group}`,
      system,
      cluster: 'main',
      destination,
      group,
      pipeline: '',
      stage: '',
      state,
      seconds: state === 'IDLE' ? 0 : seconds,
      messages: seconds === null ? null : state === 'IDLE' ? 0 : Math.round(seconds * 400 * (0.4 + r)),
    };
  });
  return all;
}

function mine(t) {
  return ['orders', 'clicks', 'search-index', 'billing', 'ledger-sync'].map((id) => {
    const p = find(id);
    const flat = p.chain.flat();
    const q = flat.find((c) => c.kind === 'queue');
    const reader = flat[flat.indexOf(q) + 1];
    const seconds = p.lag(t);
    const state = p.state(t) === 'LOSING' ? 'OK' : p.state(t);
    return {
      id: `${q.system}~main~${q.name}~${reader.id}`,
      system: q.system,
      cluster: 'main',
      destination: q.name,
      group: reader.id,
      pipeline: id,
      stage: reader.name,
      state,
      seconds,
      messages: seconds === null ? null : Math.round(seconds * p.rate),
    };
  });
}

function groupRow(g, i) {
  const { seconds, messages, ...rest } = g;
  const growing = g.state === 'LATE';
  return {
    ...rest,
    group_state: g.system === 'kafka' ? (g.state === 'UNKNOWN' ? 'Empty' : 'Stable') : '',
    members: g.system === 'nats' ? null : g.state === 'UNKNOWN' ? 0 : 1 + (i % 6),
    partitions: g.system === 'kafka' ? 12 : 1,
    lag: {
      messages,
      seconds,
      bound: seconds === null ? null : Math.min(5, 0.1 + seconds * 0.02),
      trend: growing ? 'growing' : g.state === 'DRAINING' ? 'draining' : seconds === null ? 'unknown' : 'steady',
      drain: g.state === 'DRAINING' ? seconds * 1.4 : null,
      drain_never: growing,
      history: Array.from({ length: 60 }, (_, k) =>
        seconds === null ? -1 : growing ? (seconds * k) / 59 : seconds * (0.8 + 0.4 * noise(g.id, k * 60e3)),
      ),
    },
    note: g.state === 'UNKNOWN' ? 'never committed' : '',
  };
}

const by = {
  lag: (a, b) => (b.seconds ?? -1) - (a.seconds ?? -1),
  messages: (a, b) => (b.messages ?? -1) - (a.messages ?? -1),
  name: (a, b) => (a.group < b.group ? -1 : 1),
};

export function groups(q, t) {
  const text = (q.get('q') ?? '').toLowerCase();
  const rows = [...mine(t), ...everybody()];
  const counts = {};
  for (const r of rows) counts[r.state] = (counts[r.state] ?? 0) + 1;
  const found = rows
    .filter(
      (r) =>
        (!q.get('state') || r.state === q.get('state')) &&
        (!q.get('system') || r.system === q.get('system')) &&
        (!text || r.group.includes(text) || r.destination.includes(text)),
    )
    .sort(by[q.get('sort') || 'lag'] ?? by.lag);
  if ((q.get('sort') || 'lag') === 'lag') found.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  const offset = Number(q.get('offset')) || 0;
  const limit = Number(q.get('limit')) || 100;
  return { at: t, total: found.length, groups: found.slice(offset, offset + limit).map(groupRow), counts };
}

const KINDS = ['pipeline', 'stage', 'group'];

/** Pipelines, stages and groups by name; a third of the limit for each kind. */
export function hits(text, limit, t) {
  const q = text.trim().toLowerCase();
  const words = q.split(/\s+/).filter(Boolean);
  const rows = pipelines(t).pipelines;
  const all = rows.map((p) => ({
    id: `pipeline~${p.id}`,
    kind: 'pipeline',
    name: p.id,
    state: p.state,
    pipeline: p.id,
  }));
  if (q) {
    for (const p of rows)
      for (const s of find(p.id).chain.flat())
        if (s.kind === 'stage')
          all.push({
            id: `stage~${p.id}~${s.id}`,
            kind: 'stage',
            name: s.name,
            state: 'OK',
            pipeline: p.id,
            stage: s.name,
          });
    for (const g of [...mine(t), ...everybody()]) all.push({ ...g, id: `group~${g.id}`, kind: 'group', name: g.group });
  }
  const texts = (h) => `${h.name} ${h.pipeline} ${h.destination ?? ''}`.toLowerCase();
  const found = all.filter((h) => words.every((w) => texts(h).includes(w)));
  const first = (h) => (h.name.toLowerCase().startsWith(q) ? 0 : 1);
  found.sort((a, b) => first(a) - first(b));
  const chosen = KINDS.flatMap((k) => found.filter((h) => h.kind === k).slice(0, q ? Math.floor(limit / 3) : limit));
  return {
    hits: chosen.map(({ id, kind, name, state, pipeline, stage = '', system = '', destination = '' }) => ({
      ...{ id, kind, name, state, pipeline, stage, system, destination },
    })),
    left: found.length - chosen.length,
  };
}
