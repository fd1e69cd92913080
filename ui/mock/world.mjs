// The simulated world behind the mock server: closed formulas of time, so that a page, its history
// and the live line always agree, and a reload does not jump. Times in ms unless a name says else.

const H = 3600e3;
export const START = Date.now();

/** Deterministic noise in 0..1 of a name and a second. */
export function noise(name, t) {
  let h = 2166136261 ^ Math.floor(t / 1000);
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 16777619);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  h ^= h >>> 12;
  return (h >>> 0) / 4294967296;
}

const wave = (name, t, period = 900e3) => Math.sin((t / period) * Math.PI * 2 + name.length);

const stage = (id, extra = {}) => ({ id, kind: 'stage', name: id, instances: 2, busy: 0.3, ...extra });

/** Every pipeline: base rate, lag(t) in seconds, state(t), and its map. */
export const PIPELINES = [
  {
    id: 'orders',
    rate: 8100,
    factor: 1,
    deploy: START - 38 * 60e3,
    lag(t) {
      // Late since the deploy; grows, then starts over after two hours so that a long run stays lively.
      const late = (t - this.deploy) / 1000;
      return late < 0 ? 0.2 + 0.2 * noise('orders', t) : 0.4 + (late % 7200) * 0.1;
    },
    state(t) {
      return t > this.deploy + 60e3 ? 'LATE' : 'OK';
    },
    slowest: 'enrich',
    bound: 2,
    sentence:
      'enrich takes 6.9 k/s of 8.1 k/s. Partitions 3 and 7 hold 81 % of the backlog; both are read by enrich-2 on node-17, throttled 41 % of the time since the deploy of v41.',
    chain: [
      { id: 'producers', kind: 'source', name: 'producers', detail: '3 instances', instances: 3 },
      { id: 'q:orders', kind: 'queue', name: 'orders', system: 'nats', parts: 12 },
      stage('enrich', {
        instances: 3,
        busy: 0.97,
        cpu: 2.9,
        throttled: 0.41,
        detail: '97 % busy · 3 instances',
        slow: true,
      }),
      { id: 'q:enriched', kind: 'queue', name: 'enriched', system: 'nats', parts: 6 },
      stage('sink-es', { busy: 0.22, cpu: 0.6, detail: '22 % busy' }),
      { id: 'orders-v2', kind: 'sink', name: 'orders-v2', detail: 'index', instances: 1 },
    ],
  },
  {
    id: 'clicks',
    rate: 52_000,
    lossShare: 0.0234,
    lossFrom: START - 2.2 * H,
    lag: (t) => 0.4 + 0.15 * noise('clicks', t),
    state: () => 'LOSING',
    slowest: 'sink-es',
    bound: 0.1,
    sentence:
      'sink-es loses 2.3 % between clicks and clicks-2026 since two hours: 429 from Elasticsearch is not retried.',
    lossWhere: 'sink-es → clicks-2026',
    lossClass: 'rejected 429',
    lossKind: 'transport',
    chain: [
      { id: 'web', kind: 'source', name: 'web', detail: '8 instances', instances: 8 },
      { id: 'q:clicks', kind: 'queue', name: 'clicks', system: 'kafka', parts: 24 },
      stage('dedupe', { detail: '41 % busy · 4 instances', busy: 0.41, instances: 4 }),
      { id: 'q:clicks-clean', kind: 'queue', name: 'clicks-clean', system: 'kafka', parts: 24 },
      stage('sink-es', { detail: '78 % busy', busy: 0.78, loses: true }),
      { id: 'clicks-2026', kind: 'sink', name: 'clicks-2026', detail: 'index', instances: 1 },
    ],
  },
  {
    id: 'iot-west',
    rate: 211_000,
    lossShare: 0.00002,
    lossFrom: START - 4.6 * H,
    lossEvery: 3,
    lag: (t) => 1.9 + 0.6 * noise('iot-west', t),
    state: () => 'LOSING',
    slowest: 'gateway',
    bound: 1,
    sentence: 'agents lose packets before gateway: the receive socket is full now and then.',
    lossWhere: 'agents → gateway',
    lossClass: 'socket full (UDP)',
    lossKind: 'transport',
    chain: [
      { id: 'agents', kind: 'source', name: 'agents', detail: '41 instances', instances: 41 },
      stage('gateway', { detail: '64 % busy', busy: 0.64, loses: true }),
      { id: 'q:iot', kind: 'queue', name: 'iot', system: 'kafka', parts: 48 },
      stage('rollup', { detail: '31 % busy · 6 instances', busy: 0.31, instances: 6 }),
      { id: 'iot-1m', kind: 'sink', name: 'iot-1m', detail: 'table', instances: 1 },
    ],
  },
  {
    id: 'ledger-sync',
    rate: 1100,
    unknownFrom: START - 6 * 60e3,
    lag(t) {
      return t > this.unknownFrom ? null : 0.8 + 0.5 * noise('ledger', t);
    },
    state(t) {
      return t > this.unknownFrom ? 'UNKNOWN' : 'OK';
    },
    slowest: 'settle',
    bound: null,
    sentence: 'The auditor of settle is silent since 6 minutes: nobody knows whether records arrive.',
    chain: [
      { id: 'ledger-db', kind: 'source', name: 'ledger-db', detail: 'change feed', instances: 1 },
      { id: 'q:ledger', kind: 'queue', name: 'ledger', system: 'nats', parts: 1 },
      stage('settle', { detail: 'silent', silent: true, busy: null }),
      { id: 'bank-api', kind: 'sink', name: 'bank-api', detail: 'HTTP', instances: 1, silent: true },
    ],
  },
  {
    id: 'search-index',
    rate: 14_200,
    outRate: 18_900,
    lag(t) {
      const cycle = ((t - START + 40 * 60e3) % (60 * 60e3)) / (60 * 60e3);
      return Math.max(0.4, 95 * (1 - cycle) + noise('search', t));
    },
    state(t) {
      return this.lag(t) > 5 ? 'DRAINING' : 'OK';
    },
    slowest: 'tokenise',
    bound: 1,
    draining: true,
    sentence: 'tokenise works off a backlog after its restart.',
    chain: [
      { id: 'crawler', kind: 'source', name: 'crawler', detail: '5 instances', instances: 5 },
      { id: 'q:pages', kind: 'queue', name: 'pages', system: 'nats', parts: 4 },
      stage('tokenise', { detail: '99 % busy · 5 instances', busy: 0.99, instances: 5 }),
      { id: 'q:terms', kind: 'queue', name: 'terms', system: 'nats', parts: 4 },
      stage('index-writer', { detail: '44 % busy', busy: 0.44 }),
      { id: 'search-7', kind: 'sink', name: 'search-7', detail: 'index', instances: 1 },
    ],
  },
  ...quiet(),
  {
    id: 'nightly-export',
    rate: 0,
    lag: () => 0,
    freshness: (t) => (t - (START - 9.03 * H)) / 1000,
    state: () => 'IDLE',
    slowest: '',
    bound: null,
    sentence: '',
    chain: [
      { id: 'warehouse', kind: 'source', name: 'warehouse', detail: 'idle', instances: 1 },
      { id: 'q:export', kind: 'queue', name: 'export', system: 'nats', parts: 1 },
      stage('packer', { detail: 'idle', busy: 0 }),
      { id: 'bucket', kind: 'sink', name: 'bucket', detail: 'files', instances: 1 },
    ],
  },
];

function quiet() {
  const named = [
    ['billing', 1200, 'parse', 0.2],
    ['payments', 640, 'fraud', 0.1],
    ['audit-log', 9800, 'archive', 0.9],
    ['vehicle-positions', 88_400, 'geofence', 0.6, 3],
    ['mail-out', 34, 'render', 1.2],
    ['thumbnails', 210, 'resize', 2.1],
  ];
  const many = ['eu', 'us', 'ap', 'sa', 'me', 'af'].flatMap((r) =>
    ['stock', 'prices', 'sessions', 'logs', 'metrics-raw', 'returns'].map((n, i) => [
      `${n}-${r}`,
      90 * (i + 1) * (i + 1),
      ['parse', 'join', 'window', 'route', 'fold', 'match'][i],
      0.1 + 0.2 * i,
    ]),
  );
  return [...named, ...many.slice(0, 34)].map(([id, rate, slowest, lag, fan]) => ({
    id,
    rate,
    outRate: fan ? rate * fan : undefined,
    lag: (t) => lag * (0.7 + 0.3 * wave(id, t) + 0.3 * noise(id, t)),
    state: () => 'OK',
    slowest,
    bound: lag / 2,
    sentence: '',
    chain: fan
      ? [
          { id: 'trackers', kind: 'source', name: 'trackers', detail: '3 instances', instances: 3 },
          { id: 'q:positions', kind: 'queue', name: 'positions', system: 'nats', parts: 8 },
          stage('geofence', { detail: '52 % busy · 4 instances', busy: 0.52, instances: 4 }),
          [
            { id: 'q:alarms', kind: 'queue', name: 'alarms', system: 'nats', parts: 2 },
            { id: 'q:archive', kind: 'queue', name: 'archive', system: 'nats', parts: 2 },
            { id: 'q:map', kind: 'queue', name: 'map', system: 'nats', parts: 2 },
          ],
          [
            stage('notify', { detail: '8 % busy', busy: 0.08 }),
            stage('cold-store', { detail: '21 % busy', busy: 0.21 }),
            stage('tiles', { detail: '33 % busy', busy: 0.33 }),
          ],
        ]
      : [
          { id: 'app', kind: 'source', name: 'app', detail: '2 instances', instances: 2 },
          { id: `q:${id}`, kind: 'queue', name: id, system: 'nats', parts: 2 },
          stage(slowest, { detail: '31 % busy · 2 instances', busy: 0.31 }),
          { id: 'store', kind: 'sink', name: 'store', detail: 'table', instances: 1 },
        ],
  }));
}

export const find = (id) => PIPELINES.find((p) => p.id === id);

/** Records per second at the sources and the sinks. */
export function rates(p, t) {
  if (p.rate === 0) return { in: 0, out: 0 };
  const inn = p.rate * (1 + 0.03 * wave(p.id, t, 700e3) + 0.015 * (noise(p.id, t) - 0.5));
  const state = p.state(t);
  if (state === 'UNKNOWN') return { in: inn, out: null };
  if (state === 'LATE') return { in: inn, out: 6900 * (1 + 0.01 * (noise('out', t) - 0.5)) };
  if (state === 'DRAINING') return { in: inn, out: p.outRate * (1 + 0.01 * (noise('out', t) - 0.5)) };
  const out = p.outRate && !p.draining ? (inn * p.outRate) / p.rate : inn;
  return { in: inn, out: out * (1 - lossAt(p, t)) };
}

/** Share lost in the minute of t. */
export function lossAt(p, t) {
  if (!p.lossShare || t < p.lossFrom) return 0;
  if (p.lossEvery && Math.floor(t / 900e3) % p.lossEvery !== 0) return 0;
  return p.lossShare;
}

/** Records lost between two times, summed by minute. */
export function lostBetween(p, from, to) {
  let lost = 0;
  for (let m = Math.floor(from / 60e3) * 60e3; m < to; m += 60e3) lost += Math.round(p.rate * 60 * lossAt(p, m));
  return lost;
}
