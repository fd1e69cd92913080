// The live protocol of docs/wire.md over the simulated world: snapshots, deltas, pings, binary frames.
import { WebSocketServer } from 'ws';
import * as answers from './answers.mjs';
import { incident1, incidents } from './incidents.mjs';
import { queryRange, seriesAt } from './prometheus.mjs';
import { groups, stage } from './stages.mjs';

const STEP = 1000;

const isRow = (v) => typeof v === 'object' && v !== null && 'id' in v;

/** Merge patch from a to b; arrays of rows become set, del, order. */
export function diff(a, b) {
  if (Array.isArray(b)) {
    if (!Array.isArray(a) || b.length === 0 || !a.every(isRow) || !b.every(isRow))
      return JSON.stringify(a) === JSON.stringify(b) ? undefined : b;
    const before = new Map(a.map((x) => [x.id, JSON.stringify(x)]));
    const set = b.filter((x) => before.get(x.id) !== JSON.stringify(x));
    const ids = new Set(b.map((x) => x.id));
    const del = a.filter((x) => !ids.has(x.id)).map((x) => x.id);
    const moved = a.map((x) => x.id).join('\n') !== b.map((x) => x.id).join('\n');
    if (!set.length && !del.length && !moved) return undefined;
    return { set, del, ...(moved ? { order: b.map((x) => x.id) } : {}) };
  }
  if (typeof b !== 'object' || b === null) return a === b ? undefined : b;
  const out = {};
  for (const [k, v] of Object.entries(b)) {
    const d = diff(a?.[k], v);
    if (d !== undefined) out[k] = d;
  }
  for (const k of Object.keys(a ?? {})) if (!(k in b)) out[k] = null;
  return Object.keys(out).length ? out : undefined;
}

function frame(id, seq, kind, head, points) {
  const json = Buffer.from(JSON.stringify(head));
  const columns = (16 + json.length + 4 + 4 * points.length + 7) & ~7;
  const b = Buffer.alloc(columns + 16 * points.length);
  b.writeUInt32LE(id, 0);
  b.writeUInt32LE(seq, 4);
  b.writeUInt8(kind, 8);
  b.writeUInt32LE(json.length, 12);
  json.copy(b, 16);
  b.writeUInt32LE(points.length, 16 + json.length);
  points.forEach(([i, t, v], n) => {
    b.writeUInt32LE(i, 20 + json.length + 4 * n);
    b.writeDoubleLE(t, columns + 8 * n);
    b.writeDoubleLE(v, columns + 8 * (points.length + n));
  });
  return b;
}

function answer(m, t) {
  switch (m.topic) {
    case 'now':
      return answers.now(t);
    case 'pipelines':
      return answers.pipelines(t);
    case 'pipeline':
      return answers.pipeline(m.key, t);
    case 'loss':
      return answers.loss(t - 24 * 3600e3, t, m.key ?? '', t, Object.fromEntries(new URLSearchParams(m.query)));
    case 'stage':
      return stage(...(m.key ?? '').split('\u001f'), t);
    case 'groups':
      return groups(new URLSearchParams(m.query), t);
    case 'incidents':
      return incidents(t - 24 * 3600e3, t, m.key ?? '', 100, t, new URLSearchParams(m.query).get('q') ?? '');
    case 'incident':
      return incident1(m.key, t);
    case 'self':
      return answers.self(t);
    case 'alerts':
      return answers.alerts(t);
    default:
      return undefined;
  }
}

function querySnapshot(m, t) {
  const step = m.step || STEP;
  const { result } = queryRange(m.query, Math.floor((t - (m.window || 3600e3)) / step) * step, t, step);
  return {
    series: result.map((s) => ({ labels: s.metric })),
    points: result.flatMap((s, i) => s.values.map(([at, v]) => [i, at * 1000, Number(v)])),
  };
}

/** Serves the live line on an HTTP server; `control` lets tests break it (skip one sequence number). */
export function serveLive(server, control) {
  const wss = new WebSocketServer({ server, path: '/api/v1/live' });
  wss.on('connection', (socket) => {
    const subs = new Map();
    const send = (m) => socket.readyState === 1 && socket.send(JSON.stringify(m));
    socket.on('message', (raw) => {
      let m;
      try {
        m = JSON.parse(raw);
      } catch {
        return send({ kind: 'error', error: 'cannot read that message: it is not JSON' });
      }
      if (m.op === 'unsub') return void subs.delete(m.id);
      if (m.op !== 'sub') return;
      // The crowd of 15,000 comes by HTTP alone: the mock would spend its seconds on differences.
      if (
        (control.many && m.topic === 'pipelines') ||
        (control.wide && (m.topic === 'pipeline' || m.topic === 'stage'))
      )
        return send({ id: m.id, kind: 'error', error: 'not while there is a crowd' });
      const t = Date.now();
      if (m.topic === 'query') {
        try {
          const s = querySnapshot(m, t);
          socket.send(frame(m.id, 1, 1, { series: s.series }, s.points));
          subs.set(m.id, { ...m, seq: 1, last: t });
        } catch (e) {
          send({ id: m.id, kind: 'error', error: e.message });
        }
        return;
      }
      const data = answer(m, t);
      if (!data) return send({ id: m.id, kind: 'error', error: `nothing is called "${m.key ?? m.topic}"` });
      subs.set(m.id, { ...m, seq: 1, data });
      send({ id: m.id, seq: 1, kind: 'snapshot', data });
    });
    const step = setInterval(() => {
      const t = Date.now();
      for (const s of subs.values()) {
        if (control.skip > 0) {
          control.skip--;
          s.seq++;
        }
        if (s.topic === 'query') {
          const every = s.step || STEP;
          if (t - s.last < every) continue;
          s.last += every;
          const points = seriesAt(s.query, s.last).map((x, i) => [i, s.last, x.value ?? Number.NaN]);
          socket.send(frame(s.id, ++s.seq, 2, {}, points));
          continue;
        }
        const data = answer(s, t);
        const d = diff(s.data, data);
        s.data = data;
        if (d !== undefined) send({ id: s.id, seq: ++s.seq, kind: 'delta', data: d });
      }
    }, STEP);
    const ping = setInterval(() => send({ kind: 'ping', t: Date.now() }), 15_000);
    send({ kind: 'ping', t: Date.now() });
    socket.on('close', () => {
      clearInterval(step);
      clearInterval(ping);
    });
  });
  return wss;
}
