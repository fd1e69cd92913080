// A stand-in for the weir server: every answer of the API and the live line, about a made-up world.
// `node mock/server.mjs [port]` serves the built interface too; tests import startMock.
import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as answers from './answers.mjs';
import * as declared from './declared.mjs';
import { heat, whatif } from './forecast.mjs';
import { annotate, annotations, incident1, incidents, unannotate } from './incidents.mjs';
import { serveLive } from './live.mjs';
import * as prometheus from './prometheus.mjs';
import { groups, hits, stage } from './stages.mjs';
import { search, trace } from './traces.mjs';

const DIST = fileURLToPath(new URL('../dist/app', import.meta.url));
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** The policy the Go handler sends, read from its source so that the tests run under the same one. */
export function policy() {
  const source = readFileSync(fileURLToPath(new URL('../embed.go', import.meta.url)), 'utf8');
  const lines = /const contentSecurityPolicy = ((?:"[^"]*"[\s+]*)+)/.exec(source)?.[1] ?? '';
  return [...lines.matchAll(/"([^"]*)"/g)].map((m) => m[1]).join('');
}

class Wrong extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const must = (v, what) => {
  if (v === undefined) throw new Wrong(404, `cannot find ${what}`);
  return v;
};

/** What is written: declarations and annotations. */
function write(method, path, body, control) {
  const [a, b, c, d] = path.split('/').slice(3).map(decodeURIComponent);
  if (control.forbid) throw new Wrong(403, 'your role "viewer" may read only; admins of this server: mira, jo');
  if (a === 'annotations' && method === 'POST') return annotate(body);
  if (a === 'annotations' && method === 'DELETE') return must(unannotate(b), `annotation "${b}"`);
  if (a !== 'pipelines' || c !== 'config') return undefined;
  if (method === 'POST' && d === 'check') return declared.check(b, body.yaml);
  if (method === 'DELETE') return must(declared.remove(b), `pipeline "${b}"`);
  const saved = must(declared.put(b, body.yaml, body.version ?? 0), `pipeline "${b}"`);
  if (saved === 'locked') throw new Wrong(403, `the declaration of "${b}" may not be changed here`);
  if (saved === 'conflict') throw new Wrong(409, 'cannot store version: somebody else stored a newer one');
  if (saved === 'invalid') throw new Wrong(400, 'cannot use this declaration: see the findings');
  return saved;
}

/** Numbers of a what-if's query. */
const changed = (q) => {
  const n = (name) => Number(q.get(name)) || 0;
  return {
    consumers: n('consumers'),
    rate: n('rate'),
    perConsumer: n('per_consumer'),
    retention: n('retention'),
    partitions: n('partitions'),
  };
};

function api(path, q, control) {
  const t = Date.now();
  const range = (ms) => {
    const to = Number(q.get('to')) || t;
    return [Number(q.get('from')) || to - ms, to];
  };
  const parts = path.split('/').slice(3).map(decodeURIComponent);
  const [a, b, c] = parts;
  if (a === 'now') return answers.now(t);
  if (a === 'pipelines' && !b) return answers.pipelines(t);
  if (a === 'pipelines' && c === 'history') {
    const [from, to] = range(3600e3);
    return must(
      answers.history(b, from, to, Number(q.get('step')) || Math.max(1000, Math.round((to - from) / 240))),
      `pipeline "${b}"`,
    );
  }
  if (a === 'pipelines' && c === 'stages')
    return must(stage(b, parts[3], t, control.wide), `stage "${parts[3]}" of pipeline "${b}"`);
  if (a === 'pipelines' && c === 'whatif') return must(whatif(b, changed(q), t), `a backlog in pipeline "${b}"`);
  if (a === 'pipelines' && c === 'heat') {
    const [from, to] = range(3600e3);
    const step = Number(q.get('step')) || Math.max(1000, Math.round((to - from) / 120));
    const name = q.get('destination');
    return must(heat(b, name, q.get('group'), from, to, step, control.wide), `destination "${name}"`);
  }
  if (a === 'pipelines' && c === 'config') return must(declared.config(b), `pipeline "${b}"`);
  if (a === 'pipelines') return must(answers.pipeline(b, t, control.wide), `pipeline "${b}"`);
  if (a === 'groups') return groups(q, t);
  if (a === 'find') return hits(q.get('q') ?? '', Number(q.get('limit')) || 12, t);
  if (a === 'incidents' && !b)
    return incidents(
      ...range(24 * 3600e3),
      q.get('pipeline') ?? '',
      Number(q.get('limit')) || 100,
      t,
      q.get('q') ?? '',
    );
  if (a === 'incidents') return must(incident1(b, t), `incident "${b}"`);
  if (a === 'annotations') return annotations(...range(24 * 3600e3), q.get('pipeline') ?? '', t);
  if (a === 'loss' && !b) return answers.loss(...range(24 * 3600e3), q.get('pipeline') ?? '', t, Object.fromEntries(q));
  if (a === 'loss')
    return must(answers.lossDetail(parts.slice(1).join('/'), ...range(24 * 3600e3), t), `ledger row "${b}"`);
  if (a === 'self') return answers.self(t);
  if (a === 'alerts-list') return answers.alerts(t);
  if (a === 'traces' && !b) return search(q, t);
  if (a === 'traces') {
    if (!/^[0-9a-f]{32}$/.test(b)) throw new Wrong(404, `cannot find trace "${b}"`);
    return trace(b);
  }
  return undefined;
}

function prom(path, q) {
  const a = path.slice('/api/v1/'.length);
  if (a === 'query_range') {
    const [start, end, step] = ['start', 'end', 'step'].map((k) => Number(q.get(k)) * 1000);
    return prometheus.queryRange(q.get('query') ?? '', start, end, step);
  }
  if (a === 'query') {
    const t = Date.now();
    return {
      resultType: 'vector',
      result: prometheus
        .seriesAt(q.get('query') ?? '', t)
        .map((s) => ({ metric: s.labels, value: [t / 1000, String(s.value)] })),
    };
  }
  if (a === 'labels') return prometheus.labelNames();
  if (a === 'series') return prometheus.series();
  if (a === 'metadata') return prometheus.metadata();
  if (a === 'status/flags') return {};
  const values = /^label\/([^/]+)\/values$/.exec(a);
  return values ? prometheus.labelValues(values[1]) : undefined;
}

function file(path, response) {
  const wanted = join(DIST, normalize(path));
  const isFile = wanted.startsWith(DIST) && existsSync(wanted) && statSync(wanted).isFile();
  const name = isFile ? wanted : join(DIST, 'index.html');
  if (!existsSync(name)) {
    response.writeHead(404).end('build the interface first: npm run build');
    return;
  }
  response.writeHead(200, {
    'content-type': TYPES[extname(name)] ?? 'application/octet-stream',
    'content-security-policy': policy(),
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-cache',
  });
  createReadStream(name).pipe(response);
}

/** As many pipelines as asked for: the page must stay quick with 15,000. */
function many(n) {
  const base = answers.pipelines(Date.now());
  const rows = Array.from({ length: n }, (_, i) => ({
    ...base.pipelines[i % base.pipelines.length],
    id: `group-${String(i).padStart(5, '0')}`,
  }));
  const counts = {};
  for (const r of rows) counts[r.state] = (counts[r.state] ?? 0) + 1;
  return { ...base, pipelines: rows, counts };
}

/** Starts the server; port 0 picks a free one. `control` changes its behaviour while it runs. */
export async function startMock(port = 0) {
  const control = {
    skip: 0,
    fail: '',
    delay: 0,
    empty: false,
    many: 0,
    wide: 0,
    forbid: false,
    requests: 0,
    meddle: declared.meddle,
  };
  const crowd = () => many(control.many);
  const big = new Map();
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (!url.pathname.startsWith('/api/')) return file(url.pathname, response);
    let q = url.searchParams;
    let body = '';
    for await (const chunk of request) body += chunk;
    const isJSON = request.headers['content-type']?.includes('json');
    if (request.method === 'POST' && !isJSON) q = new URLSearchParams(body);
    control.requests++;
    if (control.delay) await new Promise((done) => setTimeout(done, control.delay));
    const json = (status, value) => {
      response.writeHead(status, { 'content-type': status < 400 ? 'application/json' : 'application/problem+json' });
      response.end(typeof value === 'string' ? value : JSON.stringify(value));
    };
    if (control.fail && url.pathname.startsWith(control.fail))
      return json(503, {
        status: 503,
        title: 'Service Unavailable',
        detail: 'cannot read the store: it is starting, try again in a moment',
      });
    if (control.empty && url.pathname === '/api/v1/pipelines')
      return json(200, { at: Date.now(), pipelines: null, counts: {}, completeness: { share: null, missing: null } });
    if (control.many && url.pathname === '/api/v1/pipelines') return json(200, crowd());
    try {
      if (isJSON || request.method === 'DELETE') {
        const written = write(request.method, url.pathname, body ? JSON.parse(body) : {}, control);
        if (written !== undefined) return json(200, written);
      }
      const isTrace = /^\/api\/v1\/traces\/[0-9a-f]{32}$/.test(url.pathname);
      if (isTrace) {
        // Made once: the time to open a big trace is the browser's, not the mock's.
        if (!big.has(url.pathname)) big.set(url.pathname, JSON.stringify(api(url.pathname, q, control)));
        return json(200, big.get(url.pathname));
      }
      const own = api(url.pathname, q, control);
      if (own !== undefined) return json(200, own);
      const data = prom(url.pathname, q);
      if (data !== undefined) return json(200, { status: 'success', data });
      throw new Wrong(404, `no such path ${url.pathname}`);
    } catch (e) {
      if (e instanceof Wrong) return json(e.status, { status: e.status, title: 'Error', detail: e.message });
      json(400, { status: 'error', errorType: 'bad_data', error: `invalid parameter "query": ${e.message}` });
    }
  });
  const live = serveLive(server, control);
  control.lines = () => live.clients.size;
  control.dropLines = () => {
    for (const s of live.clients) s.terminate();
  };
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    control,
    close: () =>
      new Promise((done) => {
        for (const s of live.clients) s.terminate();
        live.close();
        server.closeAllConnections();
        server.close(done);
      }),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = await startMock(Number(process.argv[2]) || 9481);
  console.log(`mock server on ${mock.url}`);
}
