// Traces of the simulated world, made from their id: the same id is always the same trace.
import { START } from './world.mjs';

export const BIG = 'b16b00b5feed4a11c0ffee0000100000';
const SERVICES = ['checkout', 'orders-api', 'enrich', 'fraud', 'sink-es', 'billing'];

function random(seed) {
  let s = 0;
  for (const c of seed) s = (Math.imul(s, 31) + c.charCodeAt(0)) | 0;
  return () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const hex = (rnd, n) => Array.from({ length: n }, () => Math.floor(rnd() * 16).toString(16)).join('');

const idOf = (i) => (i === 0 ? BIG : hex(random(`trace ${i}`), 32));

export function search(q, t) {
  const out = [];
  const from = Number(q.get('from')) || t - 3600e3;
  const to = Number(q.get('to')) || t;
  const limit = Number(q.get('limit')) || 50;
  for (let i = 0; i < 120; i++) {
    const rnd = random(`row ${i}`);
    const start = START - i * 28e3 - rnd() * 20e3;
    const slow = rnd() < 0.15;
    const errors = rnd() < 0.12 ? 1 + Math.floor(rnd() * 3) : 0;
    const row = {
      id: idOf(i),
      service: i === 0 ? 'checkout' : SERVICES[Math.floor(rnd() * 2)],
      name:
        i === 0 ? 'POST /orders/bulk' : ['POST /orders', 'PUT /orders/{id}', 'consume orders'][Math.floor(rnd() * 3)],
      start: Math.round(start),
      duration: i === 0 ? 261 : slow ? 40 + rnd() * 220 : 0.05 + rnd() * 2.4,
      spans: i === 0 ? 100_000 : 9 + Math.floor(rnd() * 60),
      errors: i === 0 ? 311 : errors,
      services: SERVICES.slice(0, 4 + Math.floor(rnd() * 3)),
    };
    if (row.start < from || row.start > to) continue;
    if (q.get('service') && !row.services.includes(q.get('service'))) continue;
    if (q.get('name') && !row.name.includes(q.get('name'))) continue;
    if (q.get('error') === 'true' && row.errors === 0) continue;
    if (Number(q.get('min')) && row.duration < Number(q.get('min'))) continue;
    if (Number(q.get('max')) && row.duration > Number(q.get('max'))) continue;
    out.push(row);
    if (out.length >= limit) break;
  }
  return { traces: out };
}

/** One trace: a request that goes through two queues; waits are long where the pipeline is late. */
export function trace(id) {
  const rnd = random(id);
  const target = id === BIG ? 100_000 : 14 + Math.floor(rnd() * 50);
  const spans = [];
  const add = (parent, depth, service, name, kind, start, duration, extra = {}) => {
    const span = {
      id: hex(rnd, 16),
      parent,
      trace: id,
      service,
      node: `node-${String(1 + Math.floor(rnd() * 17)).padStart(2, '0')}`,
      container: hex(rnd, 12),
      name,
      kind,
      status: 'unset',
      start,
      duration,
      wait: 0,
      depth,
      links: [],
      attrs: {},
      events: [],
      ...extra,
    };
    spans.push(span);
    return span;
  };
  const root = add('', 0, 'checkout', id === BIG ? 'POST /orders/bulk' : 'POST /orders', 'server', 0, 0.18, {
    attrs: { 'http.request.method': 'POST', 'http.response.status_code': '202' },
  });
  add(root.id, 1, 'checkout', 'validate', 'internal', 0.004, 0.021);
  const api = add(root.id, 1, 'orders-api', 'create order', 'server', 0.03, 0.12);
  add(api.id, 2, 'orders-api', 'INSERT orders', 'client', 0.041, 0.038, {
    attrs: { 'db.system': 'postgresql', 'db.query.text': 'INSERT INTO orders …' },
  });
  const send = add(api.id, 2, 'orders-api', 'send orders', 'producer', 0.09, 0.012, {
    attrs: { 'messaging.system': 'nats', 'messaging.destination.name': 'orders' },
  });
  let at = 0.102;
  let parent = send;
  while (spans.length < target) {
    const wait = id === BIG ? 0.4 + rnd() * 0.4 : 6 + rnd() * 30;
    const begin = at + wait;
    const failed = rnd() < 0.004;
    const consume = add(parent.id, 3, 'enrich', 'process orders', 'consumer', begin, 0.05 + rnd() * 0.25, {
      wait,
      // A batch of twenty: the message of this trace, and nineteen of others.
      links: id === BIG ? [send.id] : [send.id, ...Array.from({ length: 19 }, () => hex(rnd, 16))],
      attrs: {
        'messaging.system': 'nats',
        'messaging.destination.name': 'orders',
        'messaging.batch.message_count': '20',
        'messaging.destination.partition.id': String(Math.floor(rnd() * 12)),
      },
    });
    let inner = begin + 0.004;
    const fan = id === BIG ? 470 : 4;
    for (let i = 0; i < fan && spans.length < target - 3; i++) {
      const d = 0.001 + rnd() * 0.02;
      const bad = failed || rnd() < 0.003;
      const call = add(
        consume.id,
        4,
        i % 3 === 0 ? 'fraud' : 'enrich',
        i % 3 === 0 ? 'score' : 'lookup customer',
        i % 3 === 0 ? 'server' : 'client',
        inner,
        d,
        {
          status: bad ? 'error' : 'ok',
          events: bad
            ? [
                {
                  at: inner + d,
                  name: 'exception',
                  attrs: { 'exception.type': 'Timeout', 'exception.message': 'customer cache did not answer in 20 ms' },
                },
              ]
            : [],
          attrs: { 'customer.tier': rnd() < 0.2 ? 'gold' : 'standard', shard: String(i % 8) },
        },
      );
      if (i % 5 === 0 && spans.length < target - 3)
        add(call.id, 5, 'fraud', 'features', 'internal', inner + d * 0.2, d * 0.5);
      inner += id === BIG ? d * 0.02 : d * 0.6;
    }
    const out = add(consume.id, 4, 'enrich', 'send enriched', 'producer', inner, 0.004, {
      attrs: { 'messaging.destination.name': 'enriched' },
    });
    const wait2 = 0.1 + rnd() * 0.1;
    add(out.id, 5, 'sink-es', 'bulk index', 'consumer', inner + 0.004 + wait2, 0.08 + rnd() * 0.1, {
      wait: wait2,
      links: [out.id],
      attrs: { 'messaging.destination.name': 'enriched', 'db.system': 'elasticsearch' },
    });
    at = begin;
    parent = send;
  }
  spans.length = Math.min(spans.length, target);
  const duration = Math.max(
    ...spans.slice(-2000).map((s) => s.start + s.duration),
    spans.reduce((m, s) => Math.max(m, s.start + s.duration), 0),
  );
  return { id, start: START - 280e3, duration, services: [...new Set(spans.map((s) => s.service))], spans };
}
