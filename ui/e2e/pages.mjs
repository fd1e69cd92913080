// The pages as the tests know them: where, and what shows that the content is there.

const HOUR = 3600e3;
// A day and two hours that end before today does: axes with a day, and a line that tells what is of when.
const END = Date.now() - 20 * HOUR;

const MOCK = [
  { name: 'now', path: '/', ready: 'section[aria-label="Worst pipelines"] tbody tr' },
  { name: 'pipelines', path: '/pipelines', ready: 'table[aria-label="Pipelines"] tbody tr' },
  { name: 'groups', path: '/groups', ready: 'table[aria-label="Consumer groups"] tbody a.name' },
  { name: 'pipeline', path: '/p/orders', ready: '.plot canvas' },
  {
    name: 'pipeline-whatif',
    path: '/p/orders?wi=consumers:6,inflow:1.2&cmp=1d',
    ready: 'section[aria-label="What if"] .plot canvas',
  },
  { name: 'pipeline-past', path: `/p/orders?from=${END - 26 * HOUR}&to=${END}&live=0`, ready: '.plot canvas' },
  { name: 'pipeline-week', path: '/p/orders?from=now-7d&tab=partitions', ready: '.heat-plot[data-cells]' },
  { name: 'pipeline-partitions', path: '/p/orders?tab=partitions', ready: '.heat-plot[data-cells]' },
  { name: 'pipeline-stages', path: '/p/orders?tab=stages', ready: 'section[aria-label="Latency from the origin"]' },
  { name: 'pipeline-traces', path: '/p/orders?tab=traces', ready: 'table[aria-label="Traces"] tbody tr' },
  { name: 'pipeline-config', path: '/p/orders?tab=config', ready: 'section[aria-label="Proposed"] .yaml' },
  { name: 'pipeline-file', path: '/p/clicks?tab=config', ready: 'section[aria-label="Declared"] code' },
  { name: 'stage', path: '/p/orders/stage/enrich', ready: 'section[aria-label="Containers"]' },
  { name: 'stage-losing', path: '/p/iot-west/stage/gateway', ready: 'section[aria-label="Losses"] tbody tr' },
  { name: 'pipeline-losing', path: '/p/clicks?tab=partitions', ready: '.map .node' },
  { name: 'pipeline-unknown', path: '/p/ledger-sync', ready: '.map .node' },
  { name: 'pipeline-fan', path: '/p/vehicle-positions?sel=geofence&tab=stages', ready: '.node-panel' },
  { name: 'loss', path: '/loss', ready: '.loss-detail .bars' },
  { name: 'incidents', path: '/loss?tab=incidents', ready: 'table[aria-label="Incidents"] tbody tr' },
  ...['clicks', 'ledger-sync', 'payments'].map((p) => ({
    name: `incident-${p}`,
    find: { path: '/api/v1/incidents', pipeline: p },
    ready: '.headline .big',
  })),
  { name: 'alerts', path: '/alerts', ready: 'table[aria-label="Alerts"] tbody tr' },
  { name: 'explore', path: '/explore?q=rate(weir_collector_received_total[1m])', ready: '.plot canvas' },
  { name: 'explore-empty', path: '/explore', ready: 'section[aria-label="Examples"]' },
  { name: 'traces', path: '/traces', ready: 'table[aria-label="Traces"] tbody tr' },
  { name: 'trace', path: '/t/00000000000000000000000000000003?sel=none', ready: '.span-row' },
  { name: 'self', path: '/self', ready: 'table[aria-label="Doors of the server"]' },
];

const answer = async (base, path) => (await fetch(base + path)).json();

/** The page of a pipeline's newest incident. */
async function incident(base, page) {
  const found = (await answer(base, page.find.path)).incidents.find((i) => i.pipeline === page.find.pipeline);
  return { ...page, path: `/loss/${encodeURIComponent(found.id)}` };
}

/** The mock's pages, or those of a real server, found by asking its API. */
export async function pagesOf(base, isMock) {
  if (isMock) return Promise.all(MOCK.map((p) => (p.find ? incident(base, p) : p)));
  const some = 'main h1, main .state-box';
  const pages = [
    { name: 'now', path: '/', ready: 'section[aria-label="Worst pipelines"]' },
    { name: 'pipelines', path: '/pipelines', ready: some },
    { name: 'groups', path: '/groups', ready: some },
    { name: 'loss', path: '/loss', ready: some },
    { name: 'incidents', path: '/loss?tab=incidents', ready: some },
    { name: 'alerts', path: '/alerts', ready: some },
    { name: 'explore', path: '/explore?q=up', ready: some },
    { name: 'traces', path: '/traces', ready: some },
    { name: 'self', path: '/self', ready: some },
  ];
  const pipeline = (await answer(base, '/api/v1/pipelines')).pipelines?.[0];
  if (pipeline) {
    const path = `/p/${encodeURIComponent(pipeline.id)}`;
    const stage = encodeURIComponent(pipeline.slowest);
    pages.push({ name: 'pipeline', path, ready: 'main h1' });
    pages.push({ name: 'pipeline-whatif', path: `${path}?wi=open`, ready: 'main h1' });
    pages.push({ name: 'pipeline-config', path: `${path}?tab=config`, ready: 'section[aria-label="Declared"]' });
    if (stage) pages.push({ name: 'stage', path: `${path}/stage/${stage}`, ready: 'main h1' });
  }
  const lost = (await answer(base, '/api/v1/incidents')).incidents?.[0];
  if (lost) pages.push({ name: 'incident', path: `/loss/${encodeURIComponent(lost.id)}`, ready: '.headline .big' });
  const trace = (await answer(base, '/api/v1/traces')).traces?.[0];
  if (trace) pages.push({ name: 'trace', path: `/t/${trace.id}`, ready: '.span-row' });
  return pages;
}
