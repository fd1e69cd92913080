// Incidents and annotations of the simulated world.
import { changes, incidentHas, incidentId, loss, lossDetail } from './answers.mjs';
import { search } from './traces.mjs';
import { find, START } from './world.mjs';

const HOUR = 3600e3;
const MINUTE = 60e3;

const SAYS = {
  clicks:
    'sink-es loses 2.3 % of the records between clicks and clicks-2026: Elasticsearch answers 429 and they are not sent again.',
  'iot-west': 'agents lose packets before gateway, one quarter of an hour in three: the receive socket is full.',
  'ledger-sync': 'Nobody knows whether settle loses records: its auditor on node-03 is silent.',
};

/** The windows of an incident and a little before and after it. */
function ribbon(row, from, to, verdict) {
  const out = [];
  for (let t = from - 10 * MINUTE; t < to + 5 * MINUTE && t < Date.now(); t += MINUTE) {
    const inside = t >= from && t < to;
    const losing = inside && (row.pipeline !== 'iot-west' || Math.floor(t / (15 * MINUTE)) % 3 === 0);
    const open = t > Date.now() - 2 * MINUTE;
    out.push({
      window: Math.floor(t / MINUTE) * 60,
      state: open ? 'IN_FLIGHT' : losing ? verdict : 'OK',
      lost: losing && row.lost > 0 && !open ? Math.ceil((row.lost * MINUTE) / (to - from)) : 0,
    });
  }
  return out;
}

function incident(edge, from, to, still, extra = {}) {
  const row = { ...edge, ribbon: ribbon(edge, from, to, edge.verdict) };
  return {
    id: incidentId(row.id, from),
    row,
    pipeline: row.pipeline,
    stage: row.where.split(' → ')[0],
    from: Math.floor(from / MINUTE) * 60,
    to: Math.floor(to / MINUTE) * 60,
    still,
    windows: Math.max(1, Math.round((to - from) / MINUTE)),
    lost: row.lost,
    bound: row.bound,
    share: row.share,
    class: row.class,
    verdict: row.verdict,
    level: row.level,
    revised: 0,
    sentence: SAYS[row.pipeline] ?? '',
    completeness: { share: 0.9998, missing: [] },
    ...extra,
  };
}

/** Every incident of the last week. */
function all(t) {
  const { rows } = loss(t - 24 * HOUR, t, '', t);
  const of = (pipeline) => rows.find((r) => r.pipeline === pipeline && r.kind !== 'none');
  const out = [];
  for (const r of rows) {
    const p = find(r.pipeline);
    if (r.verdict === 'LOSS')
      out.push(incident(r, p.lossFrom, t - 2 * MINUTE, true, { revised: r.pipeline === 'clicks' ? 2 : 0 }));
    if (r.verdict === 'UNKNOWN') out.push(incident(r, p.unknownFrom, t - MINUTE, true));
  }
  const billing = of('billing');
  out.push(
    incident(
      {
        ...billing,
        lost: 41,
        share: 0.0006,
        verdict: 'PROBABLE_LOSS',
        class: 'counters disagree',
        level: 'L1',
        confidence: 0.72,
        still: false,
      },
      START - 9 * HOUR,
      START - 9 * HOUR + 3 * MINUTE,
      false,
      { sentence: 'parse took 41 records fewer than app says it sent.' },
    ),
    incident(
      {
        ...of('payments'),
        lost: 3000,
        bound: 12,
        share: 1,
        verdict: 'RETENTION_LOSS',
        class: 'retention',
        level: 'L0',
        confidence: 0.95,
        still: false,
      },
      START - 15 * HOUR,
      START - 15 * HOUR + 11 * MINUTE,
      false,
      { sentence: 'payments deleted 3,000 records before fraud read them: the queue keeps 6,000 messages.' },
    ),
  );
  return out.sort((a, b) => b.from - a.from);
}

export function incidents(from, to, pipeline, limit, t, q = '') {
  const found = all(t).filter(
    (i) => i.to * 1000 >= from && i.from * 1000 <= to && (!pipeline || i.pipeline === pipeline) && incidentHas(i, q),
  );
  return { at: t, from, to, incidents: found.slice(0, limit), left: Math.max(0, found.length - limit) };
}

export function incident1(id, t) {
  const found = all(t).find((i) => i.id === id);
  if (!found) return undefined;
  const detail = lossDetail(found.row.id, found.from * 1000 - 10 * MINUTE, t, t);
  const { rows } = loss(found.from * 1000, Math.max(found.to * 1000, found.from * 1000 + HOUR), found.pipeline, t);
  const flat = find(found.pipeline).chain.flat();
  const others = flat
    .filter((c) => c.kind === 'stage' && c.name !== found.stage)
    .map((c) => ({
      ...rows[0],
      id: `balance/${found.pipeline}/${c.name}`,
      kind: 'balance',
      where: c.name,
      verdict: 'OK',
      lost: 0,
      bound: 0,
      share: null,
      class: '',
      since: null,
      still: false,
      ribbon: rows[0].ribbon.map((x) => ({ ...x, state: x.state === 'IN_FLIGHT' ? x.state : 'OK', lost: 0 })),
    }));
  const balances = detail.windows.map((w, i) => (found.revised && i === 5 ? { ...w, revision: 3 } : w));
  return {
    ...found,
    balances: found.still
      ? balances
      : balances.slice(0, found.windows).map((w, i) => ({
          ...w,
          window: found.to - 60 * (i + 1),
          settled: true,
          in_flight: 0,
          verdict: found.verdict,
          lost: Math.round(found.lost / found.windows),
          down: Math.max(0, w.up - Math.round(found.lost / found.windows)),
          revision: 1,
          settled_at: (found.to - 60 * i) * 1000 + 37e3,
        })),
    reasons:
      found.verdict === 'RETENTION_LOSS'
        ? [
            'The queue began at 9,000 while fraud had read up to 6,000: 3,000 records are gone.',
            'The queue keeps at most 6,000 messages.',
          ]
        : found.verdict === 'PROBABLE_LOSS'
          ? [
              'app counted 68,112 acknowledged records, parse 68,071 taken ones; the backlog did not change.',
              'The counters are read every 15 s: ± 20 records.',
            ]
          : detail.reasons,
    examples: found.still ? detail.examples : [],
    traces:
      found.pipeline === 'clicks'
        ? search(new URLSearchParams({ error: 'true', limit: '4', from: String(found.from * 1000) }), t).traces
        : [],
    changes:
      found.pipeline === 'clicks'
        ? [
            { at: found.from * 1000 - 4 * MINUTE, text: 'sink-es restarted on node-04', kind: 'instance' },
            ...changes(t).filter((c) => c.kind === 'config'),
          ]
        : [],
    around: others,
    query: `sum by (pipeline) (increase(weir_loss_lost_total{pipeline="${found.pipeline}"}[1m]))`,
  };
}

// ---- annotations

const told = [];

export function annotations(from, to, pipeline, t) {
  const seen = changes(t).map((c, i) => ({
    id: `seen-${i}`,
    at: c.at,
    until: 0,
    kind: c.kind,
    text: c.text,
    pipeline: c.text.includes('sink-es') ? 'clicks' : 'orders',
    service: '',
    by: '',
    tags: {},
    seen: true,
  }));
  return {
    annotations: [...told, ...seen]
      .filter((a) => a.at >= from && a.at <= to && (!pipeline || !a.pipeline || a.pipeline === pipeline))
      .sort((a, b) => b.at - a.at),
  };
}

export function annotate(body) {
  const a = {
    id: `n${told.length + 1}`,
    at: body.at || Date.now(),
    until: body.until || 0,
    kind: body.kind || 'note',
    text: body.text,
    pipeline: body.pipeline ?? '',
    service: body.service ?? '',
    by: 'you',
    tags: body.tags ?? {},
    seen: false,
  };
  told.push(a);
  return a;
}

export function unannotate(id) {
  const i = told.findIndex((a) => a.id === id);
  if (i < 0) return undefined;
  told.splice(i, 1);
  return {};
}
